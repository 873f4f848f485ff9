"""The table of B2's API calls: the function, the capability and the price class of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from b2mount.emulator import bucket_calls, file_calls, key_calls, large_calls
from b2mount.emulator.call import Call
from b2mount.emulator.large_calls import Copy
from b2mount.emulator.replies import Document, Listed


@attrs.frozen
class Endpoint:
    """One API call. `rows` is the reply's list that is billed by the thousand."""

    run: Callable[[Call], Document | Listed | Copy]
    capability: str
    price: str
    rows: str | None = None


ENDPOINTS: Final[dict[str, Endpoint]] = {
    "b2_cancel_large_file": Endpoint(large_calls.cancel_large_file, "writeFiles", "A"),
    "b2_copy_file": Endpoint(large_calls.copy_file, "writeFiles", "C"),
    "b2_copy_part": Endpoint(large_calls.copy_part, "writeFiles", "C"),
    "b2_create_bucket": Endpoint(bucket_calls.create_bucket, "writeBuckets", "C"),
    "b2_create_key": Endpoint(key_calls.create_key, "writeKeys", "C"),
    "b2_delete_bucket": Endpoint(bucket_calls.delete_bucket, "deleteBuckets", "A"),
    "b2_delete_file_version": Endpoint(file_calls.delete_file_version, "deleteFiles", "A"),
    "b2_delete_key": Endpoint(key_calls.delete_key, "deleteKeys", "A"),
    "b2_finish_large_file": Endpoint(large_calls.finish_large_file, "writeFiles", "A"),
    "b2_get_bucket_notification_rules": Endpoint(
        bucket_calls.get_notification_rules, "readBucketNotifications", "C"
    ),
    "b2_get_download_authorization": Endpoint(file_calls.get_download_authorization, "shareFiles", "C"),
    "b2_get_file_info": Endpoint(file_calls.get_file_info, "readFiles", "B"),
    "b2_get_upload_part_url": Endpoint(large_calls.get_upload_part_url, "writeFiles", "A"),
    "b2_get_upload_url": Endpoint(large_calls.get_upload_url, "writeFiles", "A"),
    "b2_hide_file": Endpoint(file_calls.hide_file, "writeFiles", "A"),
    "b2_list_buckets": Endpoint(bucket_calls.list_buckets, "listBuckets", "C"),
    "b2_list_file_names": Endpoint(file_calls.list_file_names, "listFiles", "C", "files"),
    "b2_list_file_versions": Endpoint(file_calls.list_file_versions, "listFiles", "C", "files"),
    "b2_list_keys": Endpoint(key_calls.list_keys, "listKeys", "C", "keys"),
    "b2_list_parts": Endpoint(large_calls.list_parts, "writeFiles", "C", "parts"),
    "b2_list_unfinished_large_files": Endpoint(
        large_calls.list_unfinished_large_files, "listFiles", "C", "files"
    ),
    "b2_set_bucket_notification_rules": Endpoint(
        bucket_calls.set_notification_rules, "writeBucketNotifications", "C"
    ),
    "b2_start_large_file": Endpoint(large_calls.start_large_file, "writeFiles", "A"),
    "b2_update_bucket": Endpoint(bucket_calls.update_bucket, "writeBuckets", "C"),
    "b2_update_file_legal_hold": Endpoint(file_calls.update_file_legal_hold, "writeFileLegalHolds", "A"),
    "b2_update_file_retention": Endpoint(file_calls.update_file_retention, "writeFileRetentions", "A"),
}

UPLOADS: Final = {"b2_upload_file": "A", "b2_upload_part": "A"}
DOWNLOADS: Final = {
    "b2_download_file_by_id": "B",
    "b2_download_file_by_name": "B",
    "b2_head_file_by_id": "B",
    "b2_head_file_by_name": "B",
}
"""HEAD counts as calls of their own, so that reading metadata can be told from reading bytes."""
PRICES: Final[dict[str, str]] = {
    "b2_authorize_account": "C",
    **UPLOADS,
    **DOWNLOADS,
    **{name: endpoint.price for name, endpoint in ENDPOINTS.items()},
}
