"""The tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: In the order in which they refer to each other.
_TABLES = (
    "problems",
    "teams",
    "users",
    "events",
    "team_members",
    "dispatchers",
    "event_teams",
    "folds",
    "score_types",
    "submissions",
    "attempts",
    "bagged_scores",
    "fold_scores",
    "fold_times",
    "submission_events",
    "submission_files",
)


def upgrade() -> None:
    """Make all tables."""
    _make_people_and_events()
    _make_submissions()
    _make_attempts_and_scores()


def _make_people_and_events() -> None:
    op.create_table(
        "problems",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_problems")),
        sa.UniqueConstraint("name", name=op.f("uq_problems_name")),
    )
    op.create_table(
        "teams",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
        sa.UniqueConstraint("name", name=op.f("uq_teams_name")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("firstname", sa.Text(), nullable=False),
        sa.Column("lastname", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("access_level", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.UniqueConstraint("login", name=op.f("uq_users_login")),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("problem_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("config_path", sa.Text(), nullable=False),
        sa.Column("data_label", sa.Text(), nullable=True),
        sa.Column("required_files", sa.JSON(), nullable=False),
        sa.Column("n_folds", sa.Integer(), nullable=False),
        sa.Column("n_train", sa.Integer(), nullable=False),
        sa.Column("n_test", sa.Integer(), nullable=True),
        sa.Column("bundle_hash", sa.Text(), nullable=False),
        sa.Column("kit_hash", sa.Text(), nullable=False),
        sa.Column("data_hash", sa.Text(), nullable=False),
        sa.Column("folds_hash", sa.Text(), nullable=False),
        sa.Column("environment_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["problem_id"], ["problems.id"], name=op.f("fk_events_problem_id_problems")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("name", name=op.f("uq_events_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_events_problem_id"), "events", ["problem_id"])
    op.create_table(
        "team_members",
        sa.Column("team_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["team_id"],
            ["teams.id"],
            name=op.f("fk_team_members_team_id_teams"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_team_members_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("team_id", "user_id", name=op.f("pk_team_members")),
    )
    op.create_index(op.f("ix_team_members_user_id"), "team_members", ["user_id"])
    op.create_table(
        "dispatchers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("stale_after_seconds", sa.Double(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("steady_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.id"],
            name=op.f("fk_dispatchers_event_id_events"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispatchers")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_dispatchers_live", "dispatchers", ["event_id", "ended_at"])
    op.create_table(
        "event_teams",
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("team_id", sa.Integer(), nullable=False),
        sa.Column("signed_up_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.id"],
            name=op.f("fk_event_teams_event_id_events"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_event_teams_team_id_teams"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("event_id", "team_id", name=op.f("pk_event_teams")),
    )
    op.create_index(op.f("ix_event_teams_team_id"), "event_teams", ["team_id"])
    op.create_table(
        "folds",
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n_train", sa.Integer(), nullable=False),
        sa.Column("n_valid", sa.Integer(), nullable=False),
        sa.Column("indices", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("fk_folds_event_id_events"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("event_id", "number", name=op.f("pk_folds")),
    )
    op.create_table(
        "score_types",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("precision", sa.Integer(), nullable=False),
        sa.Column("is_lower_the_better", sa.Boolean(), nullable=False),
        sa.Column("minimum", sa.Double(), nullable=True),
        sa.Column("maximum", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.id"],
            name=op.f("fk_score_types_event_id_events"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_score_types")),
        sa.UniqueConstraint("event_id", "name", name=op.f("uq_score_types_event_id_name")),
        sa.UniqueConstraint("event_id", "position", name=op.f("uq_score_types_event_id_position")),
    )


def _make_submissions() -> None:
    op.create_table(
        "submissions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("team_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("n_crashes", sa.Integer(), nullable=False),
        sa.Column("n_interruptions", sa.Integer(), nullable=False),
        sa.Column("dispatcher_id", sa.Integer(), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("public_score", sa.Double(), nullable=True),
        sa.Column("private_score", sa.Double(), nullable=True),
        sa.Column("public_order", sa.Double(), nullable=True),
        sa.Column("private_order", sa.Double(), nullable=True),
        sa.Column("train_seconds", sa.Double(), nullable=True),
        sa.Column("valid_seconds", sa.Double(), nullable=True),
        sa.Column("test_seconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["dispatcher_id"],
            ["dispatchers.id"],
            name=op.f("fk_submissions_dispatcher_id_dispatchers"),
        ),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.id"],
            name=op.f("fk_submissions_event_id_events"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_submissions_team_id_teams")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_submissions_user_id_users"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
        sa.UniqueConstraint(
            "event_id", "team_id", "name", name=op.f("uq_submissions_event_id_team_id_name")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_submissions_owner",
        "submissions",
        ["dispatcher_id"],
        sqlite_where=sa.text("dispatcher_id IS NOT NULL"),
        postgresql_where=sa.text("dispatcher_id IS NOT NULL"),
    )
    op.create_index(
        "ix_submissions_private",
        "submissions",
        ["event_id", "private_order", "submitted_at", "id"],
        sqlite_where=sa.text("private_order IS NOT NULL"),
        postgresql_where=sa.text("private_order IS NOT NULL"),
    )
    op.create_index(
        "ix_submissions_public",
        "submissions",
        ["event_id", "public_order", "submitted_at", "id"],
        sqlite_where=sa.text("public_order IS NOT NULL"),
        postgresql_where=sa.text("public_order IS NOT NULL"),
    )
    op.create_index(
        "ix_submissions_queue",
        "submissions",
        ["event_id", "state", "submitted_at", "id"],
    )
    op.create_index("ix_submissions_team_id", "submissions", ["team_id"])
    op.create_index(
        "ix_submissions_team_private",
        "submissions",
        ["event_id", "team_id", "private_order", "submitted_at", "id"],
        sqlite_where=sa.text("private_order IS NOT NULL"),
        postgresql_where=sa.text("private_order IS NOT NULL"),
    )
    op.create_index(
        "ix_submissions_team_public",
        "submissions",
        ["event_id", "team_id", "public_order", "submitted_at", "id"],
        sqlite_where=sa.text("public_order IS NOT NULL"),
        postgresql_where=sa.text("public_order IS NOT NULL"),
    )


def _make_attempts_and_scores() -> None:
    op.create_table(
        "attempts",
        sa.Column("submission_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("dispatcher_id", sa.Integer(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("handle", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["submission_id"],
            ["submissions.id"],
            name=op.f("fk_attempts_submission_id_submissions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("submission_id", "number", name=op.f("pk_attempts")),
    )
    op.create_table(
        "bagged_scores",
        sa.Column("submission_id", sa.Integer(), nullable=False),
        sa.Column("score_type_id", sa.Integer(), nullable=False),
        sa.Column("valid_bag", sa.Double(), nullable=True),
        sa.Column("valid_mean", sa.Double(), nullable=True),
        sa.Column("valid_std", sa.Double(), nullable=True),
        sa.Column("test_bag", sa.Double(), nullable=True),
        sa.Column("test_mean", sa.Double(), nullable=True),
        sa.Column("test_std", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["score_type_id"],
            ["score_types.id"],
            name=op.f("fk_bagged_scores_score_type_id_score_types"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["submission_id"],
            ["submissions.id"],
            name=op.f("fk_bagged_scores_submission_id_submissions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("submission_id", "score_type_id", name=op.f("pk_bagged_scores")),
    )
    op.create_table(
        "fold_scores",
        sa.Column("submission_id", sa.Integer(), nullable=False),
        sa.Column("fold", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("score_type_id", sa.Integer(), nullable=False),
        sa.Column("train", sa.Double(), nullable=True),
        sa.Column("valid", sa.Double(), nullable=True),
        sa.Column("test", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["score_type_id"],
            ["score_types.id"],
            name=op.f("fk_fold_scores_score_type_id_score_types"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["submission_id"],
            ["submissions.id"],
            name=op.f("fk_fold_scores_submission_id_submissions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "submission_id", "fold", "score_type_id", name=op.f("pk_fold_scores")
        ),
    )
    op.create_table(
        "fold_times",
        sa.Column("submission_id", sa.Integer(), nullable=False),
        sa.Column("fold", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("train_seconds", sa.Double(), nullable=True),
        sa.Column("valid_seconds", sa.Double(), nullable=True),
        sa.Column("test_seconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["submission_id"],
            ["submissions.id"],
            name=op.f("fk_fold_times_submission_id_submissions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("submission_id", "fold", name=op.f("pk_fold_times")),
    )
    op.create_table(
        "submission_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("submission_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("from_state", sa.String(32), nullable=True),
        sa.Column("to_state", sa.String(32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("dispatcher_id", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["submission_id"],
            ["submissions.id"],
            name=op.f("fk_submission_events_submission_id_submissions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submission_events")),
    )
    op.create_index(
        "ix_submission_events_submission_id",
        "submission_events",
        ["submission_id", "id"],
    )
    op.create_table(
        "submission_files",
        sa.Column("submission_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["submission_id"],
            ["submissions.id"],
            name=op.f("fk_submission_files_submission_id_submissions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("submission_id", "path", name=op.f("pk_submission_files")),
    )


def downgrade() -> None:
    """Drop all tables, and their indexes with them."""
    for table in reversed(_TABLES):
        op.drop_table(table)
