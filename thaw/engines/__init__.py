"""Running networks in inference mode, near the machine's limit: by OpenVINO, or by Keras."""
