"""The stage that checks all of params.yaml before anything runs."""
