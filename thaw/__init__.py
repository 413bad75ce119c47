"""What the stages share. Nothing in this package knows that DVC exists."""

import sys

# OpenVINO reports its use over the network and keeps an identifier at home, unless this cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
