"""Import trials of Harbor: job folders."""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from phase19.inputs.importers.attempts import Imported
from phase19.inputs.importers.conversions import agent, check_outcomes, elapsed_ms, moment, number_trials, outcome
from phase19.inputs.importers.documents import Documents, refuse_nothing

# What a trial has, or each step of a trial of several steps
_STEP = {
    "error_type": "$.exception_info.exception_type",
    "start": "$.agent_execution.started_at",
    "end": "$.agent_execution.finished_at",
    "cost": "$.agent_result.cost_usd",
}
_TRIAL = _STEP | {
    "id": "$.id",
    "task_id": "$.task_name",
    "name": "$.agent_info.name",
    "model": "$.agent_info.model_info.name",
    "provider": "$.agent_info.model_info.provider",
    "category": "$.source",
    "rewards": "$.verifier_result.rewards.*",
    "reward": "$.verifier_result.rewards.reward",
    "reward_valid": "$.reward_valid",
    "error_message": "$.exception_info.exception_message",
    "trial_start": "$.started_at",
    "trial_end": "$.finished_at",
}
# Errors after which a reward says nothing about the agent. Newer results say so themselves, in `reward_valid`.
_INVALID = (
    "APIConnectionError APIError APIResponseValidationError AddTestsDirError AgentAuthenticationError "
    "AgentSetupTimeoutError ApiConnectionClosedError ApiConnectionError ApiError ApiInternalServerError "
    "ApiOverloadedError ApiProviderResourceNotFoundError ApiRateLimitError ApiResponseStalledError ApiUsageLimitError "
    "AuthenticationError BadRequestError BudgetExceededError CancelledError DownloadVerifierDirError DspyImportError "
    "EnvironmentStartTimeoutError GKEExecStreamClosedError GKEPodNotFoundError HealthcheckError InternalServerError "
    "MemoryLimitExceededError MissingExtraError ModelNotFoundError NetworkConnectionError NotFoundError "
    "PermissionDeniedError RateLimitError RegradeError RewardFileEmptyError RewardFileNotFoundError "
    "RuntimeRequestError SSHAccessError SandboxBuildFailedError SandboxLikelyOutOfMemoryError "
    "ServiceOperationsUnsupportedError ServiceUnavailableError Timeout UnknownApiError UnprocessableEntityError "
    "UnsupportedModelParametersError UnsupportedParamsError VercelScopeError VerifierOutputParseError "
    "VerifierTimeoutError"
)


def read(paths: Sequence[Path], *, drop_torn_lines: bool = False) -> Imported:
    """Read jobs of Harbor.

    Parameters
    ----------
    paths
        Job folders, folders that contain them, or result files of trials.
    drop_torn_lines
        Leave out, and count, files that are not JSON.
    """
    documents = Documents(paths, drop_torn_lines)
    files = documents.files("result.json")
    found = documents.read(files, _TRIAL).drop_nulls("task_id")  # a job's own result has no task
    refuse_nothing(found, documents, "result.json files of trials")
    once = found.unique(pl.coalesce("id", "file"), keep="first", maintain_order=True)
    times, costs = elapsed_ms(pl.col("start"), pl.col("end")), pl.col("cost").cast(pl.Float64, strict=False)
    steps = (
        documents.read(files, _STEP, each="$.step_results[*]")
        .group_by("file")
        .agg(
            step_ms=pl.when(times.is_not_null().all()).then(times.sum()),
            step_cost=pl.when(costs.is_not_null().any()).then(costs.sum()),
            step_errors=pl.col("error_type").drop_nulls(),
        )
    )
    # Use the only reward, or the one named `reward`.
    rewards = pl.col("rewards")
    reward = pl.coalesce("reward", pl.when(rewards.list.len() == 1).then(rewards.list.first()), rewards.list.join(", "))
    errors = pl.concat_list(pl.col("step_errors").fill_null([]), "error_type")
    is_invalid = pl.coalesce(
        pl.col("reward_valid") == "false", errors.list.set_intersection(_INVALID.split()).list.len() > 0
    )
    provided = pl.concat_str("provider", "model", separator="/", ignore_nulls=True).replace("", None)
    rows = once.join(steps, on="file", how="left", maintain_order="left").select(
        "task_id",
        "category",
        "error_message",
        "trial_start",
        reward=reward.replace("", None),
        agent_id=agent(pl.col("name"), provided),
        is_success=outcome(reward),
        is_void=is_invalid | outcome(reward).is_null(),
        is_censored=errors.list.contains("AgentTimeoutError"),
        duration_ms=pl.coalesce(times, "step_ms"),
        cost=pl.coalesce(costs, "step_cost"),
        timestamp=pl.coalesce(moment(pl.col("end")), moment(pl.col("trial_end")), moment(pl.col("trial_start"))),
    )
    unmapped_counts, unmapped = check_outcomes("reward", rows["reward"], rows["is_success"])
    finished = {file.parent for file in files}
    trial_folders = {file.parent for file in documents.files("config.json") if re.search(r"__\w{7}$", file.parent.name)}
    counts = documents.counts(found.height, kept=once.height) | {"unfinished": len(trial_folders - finished)}
    return Imported(number_trials(rows, "timestamp", "trial_start"), counts | unmapped_counts, unmapped)
