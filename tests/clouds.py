"""Google Cloud Storage and Azure Blob Storage on the loopback, as their emulators speak them, for tests of stores."""

import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .s3 import BUCKET, free_port, running

# Microsoft's published key of every emulator's account.
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
AZURE = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={};BlobEndpoint={}/devstoreaccount1;"


@contextmanager
def serving_gs() -> Generator[str]:
    """Start a server with an empty bucket, put its address into the environment, yield the URL of the bucket."""
    for package in ("gcp_storage_emulator", "gcsfs"):
        pytest.importorskip(package, reason="install it with: pip install 'feedline[test]'")
    port = free_port()
    program = Path(sys.executable).with_name("gcp-storage-emulator")
    command = [str(program), "start", "--host=127.0.0.1", f"--port={port}", "--in-memory", f"--default-bucket={BUCKET}"]
    with running(command, port, {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "FSSPEC_GS_TOKEN": "anon"}):
        yield f"gs://{BUCKET}"


@contextmanager
def serving_az() -> Generator[str]:
    """Start a server with an empty container, put its address and key into the environment, yield its URL."""
    pytest.importorskip("adlfs", reason="install it with: pip install 'feedline[test]'")
    from adlfs import AzureBlobFileSystem

    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("Azurite is not installed; install it with: npm install -g azurite")
    port = free_port()
    options = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    connection = AZURE.format(AZURE_KEY, f"http://127.0.0.1:{port}")
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *options]
    with running(command, port, {"AZURE_STORAGE_CONNECTION_STRING": connection}):
        AzureBlobFileSystem(connection_string=connection, skip_instance_cache=True).mkdir(BUCKET)
        yield f"az://{BUCKET}"
