"""What is done on the machine, by its shell: each may be done twice, should a connection break."""

#: Make the folder ``$1`` of a run; say whether the bundle ``$2`` is there.
MAKE = 'umask 077; mkdir -p "$1" || exit; [ ! -d "$2" ] || echo yes'

#: Unpack, in the folder ``$1``, the bundle as ``$2`` and what the run needs.
UNPACK = """
cd "$1" || exit
[ -e run.tar ] || exit 0  # removed last: it was done
tar -xf run.tar || exit
if [ ! -d "$2" ]; then
    rm -rf new && mkdir new && tar -xf bundle.tar -C new && mv -T new "$2" || [ -d "$2" ] || exit
fi
rm -rf new bundle.tar run.tar
"""

#: Start, in the folder ``$1``, a command, detached; it may be ended through the pipe ``life``.
START = """
cd "$1" && shift && mkfifo life 2>&1 || { [ -e pid ]; exit; }
run='"$@" 3<>life >log 2>&1; echo $? >code.part; mv code.part code'
setsid sh -c "$run" sh "$@" </dev/null >/dev/null 2>&1 &
echo $! >pid
"""

#: Say the exit code of the run in ``$1``: nothing while it runs, ``lost`` when nothing will come.
CODE = """
cd "$1" || exit
kill -0 "$(cat pid)" 2>/dev/null; is_gone=$?
cat code 2>/dev/null || [ $is_gone = 0 ] || echo lost
"""

#: Make a tar of what the run in ``$1`` has left, as far as it is there.
PACK = 'cd "$1" && shift && { tar -cf left.tar "$@" 2>/dev/null; [ -s left.tar ]; }'

#: End the run in ``$1`` with everything that it has started, and remove its folder.
END = """
cd "$1" 2>/dev/null || exit 0
for _ in $(seq 300); do
    { [ -e pid ] && [ ! -e code ] && kill -0 "$(cat pid)" 2>/dev/null; } || break
    echo end 1<>life
    sleep 0.1
done
cd / && rm -rf "$1"
"""
