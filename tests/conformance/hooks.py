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


@schemathesis.hook
def before_call(ctx, case, **kwargs):
    """What is uploaded is made up whatever it is called, and given back under that name: called JSON or text, the tool
    would read it as such."""
    if case.method.upper() == "PUT" and "recordings" in case.path:
        named = next((value for name, value in case.headers.items() if name.lower() == "content-type"), "")
        if any(word in f"{named} {case.media_type}".lower() for word in ("json", "yaml", "xml", "text")):
            case.headers["content-type"] = "application/octet-stream"
