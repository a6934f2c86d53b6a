"""Secrets in files, as in Docker and Kubernetes: ``FACTRFM_X_FILE`` names the file that holds X.

Whoever may inspect a process or its container sees its environment; a file is visible only to its readers.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsError

SUFFIX = "_FILE"
MAX_BYTES = 2**16


class SecretFiles(PydanticBaseSettingsSource):
    """Values of secret settings whose variable with the suffix ``_FILE`` names a file."""

    def __call__(self) -> dict[str, Any]:
        """Return the values from files, by the name of the setting.

        Raises:
            SettingsError: a file cannot be read, or its setting has a value as well.
        """
        environment = {name.upper(): value for name, value in os.environ.items()}
        return {
            name: _read(variable, environment)
            for name, variable in secret_variables(self.settings_cls).items()
            if environment.get(variable + SUFFIX)
        }

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing: this source gives all its values at once."""
        return None, field_name, False


def secret_variables(settings: type[BaseSettings]) -> dict[str, str]:
    """Return the environment variable of each secret setting, by the setting's name."""
    prefix = settings.model_config.get("env_prefix", "")
    return {
        name: f"{prefix}{name.upper()}"
        for name, info in settings.model_fields.items()
        if "SecretStr" in repr(info.annotation)
    }


def _read(variable: str, environment: Mapping[str, str]) -> str:
    path = Path(environment[variable + SUFFIX])
    if environment.get(variable):
        raise SettingsError(f"{variable} and {variable}{SUFFIX} are both set; give the secret once")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise SettingsError(f"{variable}{SUFFIX} is {str(path)!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{variable}{SUFFIX} is {str(path)!r}: the file holds no UTF-8 text") from error
    if len(content) > MAX_BYTES:
        raise SettingsError(f"{variable}{SUFFIX} is {str(path)!r}: the file is longer than {MAX_BYTES} bytes")
    # editors and echo append a line break, which is not part of the secret
    return text.rstrip("\r\n")
