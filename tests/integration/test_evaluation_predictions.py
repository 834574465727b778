"""The score step reads predictions as data, whatever a fold has made of them."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ramp_engine.evaluation.kept import is_test_only
from tests.kits.evaluation import Event, Result, bundled_event, run, run_many

EXPLODED = "exploded"


class Bomb:
    """Makes a file in the current directory when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return os.system, (f"touch {EXPLODED} /tmp/{EXPLODED}",)


def npz(member: bytes, name: str = "y_pred.npy", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(name, member)
    return buffer.getvalue()


def npy(array: object, shape: tuple[int, ...] | None = None) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    text = buffer.getvalue()
    return text if shape is None else text.replace(b"(100, 3), }", f"{shape}, }}".encode())


GOOD = np.full((100, 3), 1 / 3)


def pickle_bomb_in_an_array(fold: Path) -> None:
    bombs = np.empty(100, dtype=object)
    bombs[:] = [Bomb() for _ in range(100)]
    (fold / "y_pred_train.npz").write_bytes(npz(npy(bombs)))


def pickle_bomb_as_a_file(fold: Path) -> None:
    (fold / "y_pred_train.npz").write_bytes(pickle.dumps(Bomb()))


def pickle_bomb_as_a_member(fold: Path) -> None:
    (fold / "y_pred_train.npz").write_bytes(npz(pickle.dumps(Bomb())))


def link_to_a_file(fold: Path) -> None:
    (fold / "y_pred_train.npz").rename(fold / "mine.npz")
    (fold / "y_pred_train.npz").symlink_to("mine.npz")


def second_name_of_a_file(fold: Path) -> None:
    (fold / "mine.npz").hardlink_to(fold / "y_pred_train.npz")


def link_to_a_folder(fold: Path) -> None:
    fold.rename(fold.with_name("mine"))
    fold.symlink_to("mine")


def pipe(fold: Path) -> None:
    (fold / "y_pred_train.npz").unlink()
    os.mkfifo(fold / "y_pred_train.npz")


def folder(fold: Path) -> None:
    (fold / "y_pred_train.npz").unlink()
    (fold / "y_pred_train.npz").mkdir()


def nothing(fold: Path) -> None:
    (fold / "y_pred_train.npz").unlink()


def no_folder(fold: Path) -> None:
    shutil.rmtree(fold)


def huge_shape(fold: Path) -> None:
    (fold / "y_pred_train.npz").write_bytes(npz(npy(GOOD, (10**12, 3))))


def more_than_its_shape(fold: Path) -> None:
    (fold / "y_pred_train.npz").write_bytes(npz(npy(GOOD) + bytes(10**8)))


def less_than_its_shape(fold: Path) -> None:
    (fold / "y_pred_train.npz").write_bytes(npz(npy(GOOD)[:-8]))


def another_method(fold: Path) -> None:
    (fold / "y_pred_train.npz").write_bytes(npz(npy(GOOD), method=zipfile.ZIP_LZMA))


def another_member(fold: Path) -> None:
    (fold / "y_pred_train.npz").write_bytes(npz(npy(GOOD), name="scores.npy"))


def damaged_content(fold: Path) -> None:
    content = bytearray((fold / "y_pred_train.npz").read_bytes())
    content[400] ^= 0xFF
    (fold / "y_pred_train.npz").write_bytes(content)


def damaged_stream(fold: Path) -> None:
    content = bytearray(npz(npy(GOOD), method=zipfile.ZIP_DEFLATED))
    start = 30 + int.from_bytes(content[26:28], "little") + int.from_bytes(content[28:30], "little")
    content[start] = 0xFF  # a block of a type that there is not
    (fold / "y_pred_train.npz").write_bytes(content)


def header_without_end(fold: Path) -> None:
    content = npy(GOOD)
    (fold / "y_pred_train.npz").write_bytes(npz(content.replace(b"}", b"(", 1)))


def json_instead(text: str) -> Callable[[Path], None]:
    def write(fold: Path) -> None:
        (fold / "y_pred_train.npz").unlink()
        (fold / "y_pred_train.json").write_text(text)

    return write


TRICKS = {
    **{
        trick.__name__: trick
        for trick in (
            pickle_bomb_in_an_array,
            pickle_bomb_as_a_file,
            pickle_bomb_as_a_member,
            link_to_a_file,
            second_name_of_a_file,
            link_to_a_folder,
            pipe,
            folder,
            nothing,
            no_folder,
            huge_shape,
            more_than_its_shape,
            less_than_its_shape,
            another_method,
            another_member,
            damaged_content,
            damaged_stream,
            header_without_end,
        )
    },
    "json_without_end": json_instead("[" * 100_000),
    "json_of_something_else": json_instead('{"shape": [1]}'),
    "json_of_another_shape": json_instead('{"shape": [1], "items": [1]}'),
    "json_with_an_unknown_type": json_instead('{"shape": [1], "items": [{"object": 1}]}'),
    "json_with_a_type_that_needs_memory": json_instead(
        '{"shape": [1], "items": [{"array": ["<U999999999", [1], ["a"]]}]}'
    ),
    "json_with_pickled_type": json_instead('{"shape": [1], "items": [{"scalar": ["O", 1]}]}'),
}


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Event:
    event = bundled_event("iris", tmp_path_factory.mktemp("event"))
    assert event.prepare().code == 0
    assert event.fold(event.kit / "submissions" / "sepals").code == 0
    return event


def tampered(event: Event, name: str, trick: Callable[[Path], None]) -> Path:
    predictions = event.root / "tampered" / name
    shutil.copytree(event.output(Path("sepals")), predictions)
    trick(predictions / "fold_0")
    return predictions


@pytest.fixture(scope="module")
def refused(event: Event) -> dict[str, Result]:
    commands = []
    for name, trick in TRICKS.items():
        arguments = event.score_arguments(name, tampered(event, name, trick))
        commands.append((arguments, event.root / f"{name}.log"))
    return dict(zip(TRICKS, run_many(commands), strict=True))


@pytest.mark.parametrize("name", TRICKS)
def test_predictions_that_are_not_plain_data_are_refused(
    name: str, event: Event, refused: dict[str, Result]
) -> None:
    result = refused[name]
    assert (result.code, result.error["state"]) == (1, "validating_error"), result.log
    assert result.error["message"].startswith("fold 0, training data: ")
    assert "predictions" in result.error["message"]
    assert not Path("/tmp", EXPLODED).exists()
    assert not (event.root / "scored" / name / "fold_0").exists()


def test_scores_and_states_of_a_submission_are_not_read(event: Event) -> None:
    def write_scores(fold: Path) -> None:
        (fold / "scores.csv").write_text("step,acc,error,nll,f1_70,time\nvalid,1,0,0,1,0\n")
        (fold.parent / "bagged_scores.csv").write_text("step,n_bag,acc\nvalid,1,1.0\n")
        (fold / "state.txt").write_text("scored")
        (fold / "train_time").write_text("-inf")
        (fold / "valid_time").write_bytes(b"\xff" * 10)

    honest = event.score_arguments("honest", event.output(Path("sepals")))
    forged = event.score_arguments("forged", tampered(event, "forged", write_scores))
    logs = [event.root / "honest.log", event.root / "forged.log"]
    results = run_many(list(zip((honest, forged), logs, strict=True)))
    assert [result.code for result in results] == [0, 0]
    assert results[0].content["bagged"] == results[1].content["bagged"]
    assert results[1].content["folds"][0]["times"]["train"] == 0
    assert results[1].content["folds"][0]["times"]["valid"] == 0


def scored(event: Event, name: str, predictions: Path, *flags: str) -> Result:
    arguments = [*event.score_arguments(name, predictions), *flags]
    result = run(arguments, event.root / f"{name}.log")
    assert result.code == 0, result
    return result


def kept(event: Event, name: str) -> dict[str, int]:
    """Tell of each file of predictions that is kept of fold 1 how its content is stored."""
    paths = (event.root / "scored" / name / "fold_1").glob("y_pred_*")
    return {path.name: zipfile.ZipFile(path).infolist()[0].compress_type for path in paths}


def test_what_is_kept_of_predictions_is_what_was_chosen(event: Event) -> None:
    predictions = event.output(Path("sepals"))
    flags = {"every": (), "plain": ("--no-compression",), "only": ("--keep-test-only",)}
    results = [scored(event, name, predictions, *more).content for name, more in flags.items()]
    both = ("y_pred_test.npz", "y_pred_train.npz")
    assert kept(event, "every") == dict.fromkeys(both, zipfile.ZIP_DEFLATED)
    assert kept(event, "plain") == dict.fromkeys(both, zipfile.ZIP_STORED)
    assert kept(event, "only") == {"y_pred_test.npz": zipfile.ZIP_DEFLATED}
    assert results == [results[0]] * 3
    folders = [event.root / "scored" / name for name in flags]
    assert [is_test_only(folder) for folder in folders] == [False, False, True]
    for file in ("bagged_scores.csv", "fold_0/scores.csv", "fold_1/test_time"):
        assert len({(folder / file).read_text() for folder in folders}) == 1


def test_uncompressed_predictions_can_be_scored_again(event: Event) -> None:
    first = scored(event, "first", event.output(Path("sepals")), "--no-compression")
    again = scored(event, "again", event.root / "scored" / "first")
    assert again.content == first.content


def test_scores_are_not_written_over_predictions(event: Event) -> None:
    arguments = event.score_arguments("over", event.output(Path("sepals")))
    arguments[arguments.index("--output") + 1] = str(event.output(Path("sepals")))
    (result,) = run_many([(arguments, event.root / "over.log")])
    assert result.code == 3
    assert not (event.output(Path("sepals")) / "bagged_scores.csv").exists()
