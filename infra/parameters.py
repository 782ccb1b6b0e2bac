"""parameters.py STAGE [Name=value ...]: the stage's parameters of samconfig.toml, with these over them, for `sam deploy`.

`sam deploy --parameter-overrides` replaces what samconfig.toml says as a whole; this keeps the rest of it. `Release`, unless it is given, is a
digest of all of them: SAM publishes no version of a function when only a parameter's value changes, and `Release` has one published.
"""

import hashlib
import pathlib
import shlex
import sys

import tomlkit

stage, *overrides = sys.argv[1:]
config = tomlkit.parse((pathlib.Path(__file__).resolve().parents[1] / "samconfig.toml").read_text())
if "deploy" not in config.get(stage, {}):
    sys.exit(f"error: samconfig.toml has no stage `{stage}`: dev, staging and prod are there")
parameters = {}
for pair in shlex.split(config[stage]["deploy"]["parameters"]["parameter_overrides"]) + overrides:
    name, separator, value = pair.partition("=")
    if not separator:
        sys.exit(f"error: `{pair}` is not Name=value")
    parameters[name] = value
parameters.setdefault("Release", hashlib.sha256(repr(sorted(parameters.items())).encode()).hexdigest()[:12])
print(" ".join(f"{name}={shlex.quote(value)}" for name, value in parameters.items()))
