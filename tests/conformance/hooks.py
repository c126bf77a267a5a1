"""What the tool cannot know: bodies that are no JSON document are sent as the bytes it made up."""

import schemathesis


@schemathesis.serializer("application/x-ndjson", "application/avro", "application/vnd.evenkeel.batch+avro")
def as_bytes(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def filter_case(ctx, case):
    """Every upload ends its recording: one that nobody goes on with is read as far as it is and then cut, which the tool
    takes for a fault of the network."""
    return "recordings" not in case.path or (case.headers or {}).get("upload-complete") != "?0"
