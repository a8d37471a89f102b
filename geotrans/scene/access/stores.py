"""Objects in a store, `s3://bucket/key`: access options and identities."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from geotrans.scene.access.identity import SourceIdentity, identify_url
from geotrans.scene.access.urls import find_endpoint, strip_secrets

# Stores that can be asked, and what GDAL calls an object in each.
SCHEMES = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}

# How often and how long a store is asked again: for a product, and whether a source has changed.
_PATIENT_RETRY: dict[str, Any] = {"max_retries": 5, "retry_timeout": timedelta(minutes=3)}
_BRIEF_RETRY: dict[str, Any] = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}


def open_store(url: str, *, brief: bool = False) -> Any:
    """Open a bucket with the keys and the endpoint of the environment.

    Args:
        url: Any object in the bucket, such as `s3://bucket/key`.
        brief: Use few retries and a short time limit.

    Raises:
        ImportError: If obstore is not installed.
    """
    from obstore.store import from_url

    connect: Any = from_url  # Its overloads require a literal store name.
    parts = urlsplit(url)
    options: dict[str, Any] = {"retry_config": _BRIEF_RETRY if brief else _PATIENT_RETRY}
    options |= {"client_options": {"allow_http": True}} | _STORE_OPTIONS[parts.scheme]()
    return connect(f"{parts.scheme}://{parts.netloc}", **options)


def _s3_options() -> dict[str, Any]:
    endpoint = find_endpoint()
    return {"endpoint": endpoint} if endpoint else {}


def _gs_options() -> dict[str, Any]:
    """Options from GDAL's variables; obstore reads the files of Google's tools itself."""
    options: dict[str, Any] = {}
    if endpoint := os.environ.get("CPL_GS_ENDPOINT"):
        options["base_url"] = endpoint.rstrip("/")
    if _is_set("GS_NO_SIGN_REQUEST"):
        options["skip_signature"] = True
    elif _is_set("GS_ACCESS_KEY_ID") and not _is_set("GOOGLE_APPLICATION_CREDENTIALS"):
        raise OSError(
            "with the keys GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY objects can only be read; "
            "name a file of credentials in GOOGLE_APPLICATION_CREDENTIALS"
        )
    return options


def _az_options() -> dict[str, Any]:
    """GDAL's variables as obstore's options; a connection string takes precedence in both."""
    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    settings = dict(part.strip().split("=", 1) for part in text.split(";") if "=" in part)
    account = settings.get("AccountName") or os.environ.get("AZURE_STORAGE_ACCOUNT")
    endpoint = settings.get("BlobEndpoint")
    if endpoint is None and "EndpointSuffix" in settings:
        protocol = settings.get("DefaultEndpointsProtocol", "https")
        endpoint = f"{protocol}://{account}.blob.{settings['EndpointSuffix']}"
    if account is None and endpoint:  # A signature alone: the host says whose.
        account = urlsplit(endpoint).netloc.partition(".")[0]
    if account is None and "AZURE_STORAGE_ACCOUNT_NAME" not in os.environ:
        raise OSError(
            "the environment names no account; set AZURE_STORAGE_CONNECTION_STRING, or "
            "AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_ACCESS_KEY"
        )
    options = {
        "account_name": account,
        "account_key": settings.get("AccountKey"),
        "sas_key": settings.get("SharedAccessSignature"),
        "endpoint": endpoint and endpoint.rstrip("/"),
        "skip_signature": True if _is_set("AZURE_NO_SIGN_REQUEST") else None,
    }
    return {name: value for name, value in options.items() if value is not None}


_STORE_OPTIONS = {"s3": _s3_options, "gs": _gs_options, "az": _az_options}


def _is_set(name: str) -> bool:
    """Whether an environment variable is set and not false, as GDAL reads it."""
    return os.environ.get(name, "NO").upper() not in ("", "NO", "FALSE", "OFF", "0")


def is_object(uri: str) -> bool:
    """Whether `uri` names an object in a store that can be queried."""
    return urlsplit(uri).scheme in SCHEMES or uri.startswith(tuple(SCHEMES.values()))


def identify_object(uri: str) -> SourceIdentity:
    """Identity of an object: its etag, else its size and time.

    Args:
        uri: `s3://bucket/key`, or GDAL's path of the same object.

    Returns:
        Of kind `"uri"` if the store does not answer: obstore is not installed, or has no keys.
    """
    for scheme, name in SCHEMES.items():
        if uri.startswith(name):
            uri = f"{scheme}://{uri.removeprefix(name)}"
    parts = urlsplit(uri)
    key = parts.path.lstrip("/")
    if parts.scheme == "s3" and os.environ.get("AWS_NO_SIGN_REQUEST", "").upper() == "YES":
        host = find_endpoint()
        public = f"{host}/{parts.netloc}" if host else f"https://{parts.netloc}.s3.amazonaws.com"
        return identify_url(f"{public}/{quote(key)}")
    try:
        head = open_store(uri, brief=True).head(key)
    except Exception:  # GDAL, which reads the object, reports the reason.
        return SourceIdentity("uri", strip_secrets(uri))
    if etag := head["e_tag"]:
        return SourceIdentity("etag", etag.removeprefix("W/").strip('"'))
    return SourceIdentity("stat", f"{head['size']} {head['last_modified'].isoformat()}")
