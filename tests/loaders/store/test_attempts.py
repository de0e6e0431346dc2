"""What is requested again: errors that pass. Those of credentials, names and settings are errors at once."""

from types import SimpleNamespace
from typing import Any

import pytest

from feedline.prep import StoreError
from feedline.prep.store.access import Store
from feedline.prep.store.attempts import Attempts, is_passing


def s3_error(status: int, code: str) -> Exception:
    errors = pytest.importorskip("botocore.exceptions")
    return errors.ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")


def s3_error_of(name: str, **fields: Any) -> Exception:
    return getattr(pytest.importorskip("botocore.exceptions"), name)(**fields)


def hub_error(status: int) -> Exception:
    errors = pytest.importorskip("huggingface_hub.errors")
    answer = SimpleNamespace(status_code=status, headers={}, request=None)  # requests', httpx's or httpx2's
    return errors.HfHubHTTPError("no", response=answer)


def test_busy_stores_are_asked_again() -> None:
    """As S3 and the Hub say it, and as a network says it."""
    assert is_passing(s3_error(503, "SlowDown"))
    assert is_passing(s3_error_of("EndpointConnectionError", endpoint_url="http://host"))
    assert is_passing(s3_error_of("IncompleteReadError", actual_bytes=1, expected_bytes=2))
    assert is_passing(ConnectionResetError())


def test_what_lasts_is_an_error_at_once() -> None:
    """No access, no credentials, a wrong setting: half a minute of repetitions would change nothing."""
    assert not is_passing(s3_error(403, "AccessDenied"))
    assert not is_passing(s3_error(400, "InvalidBucketName"))
    assert not is_passing(s3_error_of("NoCredentialsError"))
    assert not is_passing(s3_error_of("ProfileNotFound", profile="x"))
    assert not is_passing(s3_error_of("ParamValidationError", report="bad"))


def test_the_states_of_the_hub_are_seen() -> None:
    """They are in the answer that the error holds."""
    assert is_passing(hub_error(429))
    assert not is_passing(hub_error(401))


def test_s3fs_does_not_repeat_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five times twelve attempts would take minutes."""
    pytest.importorskip("s3fs", reason="install it with: pip install 'feedline[test]'")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nothing listens there
    began = list[int]()
    attempts = Attempts(most=2, first_wait=0.01)
    store = Store("s3://bucket/data", attempts)
    get = store._files._cat_file  # pyright: ignore[reportPrivateUsage]

    async def counted(*words: Any, **options: Any) -> Any:
        began.append(1)
        return await get(*words, **options)

    monkeypatch.setattr(store._files, "_cat_file", counted)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(StoreError, match="after 2 attempts"):
        store.read("manifest.json")
    assert len(began) == 2
