"""Where the packages of the stores look for credentials, and what a user does who has given none, or wrong ones."""

from ..base.origins import URL

CREDENTIALS = {
    "s3": ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "~/.aws/credentials"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "~/.config/gcloud/application_default_credentials.json"),
    "az": ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN", "~/.azure"),
    "hf": ("HF_TOKEN", "~/.cache/huggingface/token"),
}
"""By protocol, the variables and files in which its package looks for credentials."""


def next_step(text: str) -> str:
    """Return what a user does whose credentials are missing or wrong; ``text`` names the URL."""
    found = URL.search(text)
    variables = [name for name in CREDENTIALS.get(found[1].lower() if found else "", ()) if not name.startswith("~")]
    if not variables:
        return "give user and password, or a signature after ?, in the URL, and check its name"
    return (
        f"give its credentials in the environment, as its own tools take them ({' or '.join(variables[:2])}), "
        f"and check the name"
    )
