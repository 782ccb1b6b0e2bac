"""as_publisher.py STAGE COMMAND...: runs a command with the role that may write what decides, PublisherRole of the stage's stack."""

import os
import pathlib
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError

stage, *command = sys.argv[1:]
path = pathlib.Path(__file__).resolve().parents[1] / ".local" / f"{stage}.env"
outputs = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
try:
    answer = boto3.client("sts").assume_role(RoleArn=outputs["PUBLISHER_ROLE"], RoleSessionName="moderato-deploy")
except (BotoCoreError, ClientError) as error:
    sys.exit(f"error: {error}\n  to publish you need sts:AssumeRole on {outputs['PUBLISHER_ROLE']} (docs/runbook.md, Publish)")
taken = answer["Credentials"]
names = {"AWS_ACCESS_KEY_ID": "AccessKeyId", "AWS_SECRET_ACCESS_KEY": "SecretAccessKey", "AWS_SESSION_TOKEN": "SessionToken"}
environment = {name: value for name, value in os.environ.items() if name != "AWS_PROFILE"} | {name: taken[key] for name, key in names.items()}
os.execvpe(command[0], command, environment)
