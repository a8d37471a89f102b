"""Objects in a store, `s3://bucket/key`: who answers for them, and whether they have changed."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from geotrans.scene.access.identity import SourceIdentity, identify_url
from geotrans.scene.access.urls import find_endpoint, without_secrets

# Stores that can be asked, and what GDAL calls an object in each.
SCHEMES = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}

# How often and how long a store is asked again: for a product, and whether a source has changed.
_PATIENT: dict[str, Any] = {"max_retries": 5, "retry_timeout": timedelta(minutes=3)}
_BRIEF: dict[str, Any] = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}


def open_store(url: str, *, brief: bool = False) -> Any:
    """A way to a bucket, with the keys and the endpoint that the environment names.

    Args:
        url: Anything in the bucket, such as `s3://bucket/key`.
        brief: Give up soon.

    Raises:
        ImportError: If obstore is not installed.
    """
    from obstore.store import from_url

    connect: Any = from_url  # Its overloads want a store by name.
    parts = urlsplit(url)
    options: dict[str, Any] = {"retry_config": _BRIEF if brief else _PATIENT}
    options |= {"client_options": {"allow_http": True}} | _SETTINGS[parts.scheme]()
    return connect(f"{parts.scheme}://{parts.netloc}", **options)


def _amazon() -> dict[str, Any]:
    endpoint = find_endpoint()
    return {"endpoint": endpoint} if endpoint else {}


def _google() -> dict[str, Any]:
    """What GDAL calls by names of its own. The files of Google's tools obstore finds itself."""
    found: dict[str, Any] = {}
    if endpoint := os.environ.get("CPL_GS_ENDPOINT"):
        found["base_url"] = endpoint.rstrip("/")
    if _is_set("GS_NO_SIGN_REQUEST"):
        found["skip_signature"] = True
    elif _is_set("GS_ACCESS_KEY_ID") and not _is_set("GOOGLE_APPLICATION_CREDENTIALS"):
        raise OSError(
            "with the keys GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY objects can only be read; "
            "name a file of credentials in GOOGLE_APPLICATION_CREDENTIALS"
        )
    return found


def _azure() -> dict[str, Any]:
    """GDAL's words for an account, in those of obstore; a connection string wins in both."""
    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    words = dict(part.strip().split("=", 1) for part in text.split(";") if "=" in part)
    account = words.get("AccountName") or os.environ.get("AZURE_STORAGE_ACCOUNT")
    endpoint = words.get("BlobEndpoint")
    if endpoint is None and "EndpointSuffix" in words:
        protocol = words.get("DefaultEndpointsProtocol", "https")
        endpoint = f"{protocol}://{account}.blob.{words['EndpointSuffix']}"
    if account is None and endpoint:  # A signature alone: the host says whose.
        account = urlsplit(endpoint).netloc.partition(".")[0]
    if account is None and "AZURE_STORAGE_ACCOUNT_NAME" not in os.environ:
        raise OSError(
            "the environment names no account; set AZURE_STORAGE_CONNECTION_STRING, or "
            "AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_ACCESS_KEY"
        )
    found = {
        "account_name": account,
        "account_key": words.get("AccountKey"),
        "sas_key": words.get("SharedAccessSignature"),
        "endpoint": endpoint and endpoint.rstrip("/"),
        "skip_signature": True if _is_set("AZURE_NO_SIGN_REQUEST") else None,
    }
    return {name: value for name, value in found.items() if value is not None}


_SETTINGS = {"s3": _amazon, "gs": _google, "az": _azure}


def _is_set(name: str) -> bool:
    """Whether a variable of the environment is there and does not say no, as GDAL reads it."""
    return os.environ.get(name, "NO").upper() not in ("", "NO", "FALSE", "OFF", "0")


def is_object(uri: str) -> bool:
    """Whether `uri` names an object in a store that can be asked."""
    return urlsplit(uri).scheme in SCHEMES or uri.startswith(tuple(SCHEMES.values()))


def identify_object(uri: str) -> SourceIdentity:
    """Identity of an object: its etag, else its size and time.

    Args:
        uri: `s3://bucket/key`, or the same as GDAL calls it.

    Returns:
        Of kind `"uri"` where the store does not tell: obstore is not installed, or has no keys.
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
        found = open_store(uri, brief=True).head(key)
    except Exception:  # Whatever keeps it from answering is told by GDAL, which reads it.
        return SourceIdentity("uri", without_secrets(uri))
    if etag := found["e_tag"]:
        return SourceIdentity("etag", etag.removeprefix("W/").strip('"'))
    return SourceIdentity("stat", f"{found['size']} {found['last_modified'].isoformat()}")
