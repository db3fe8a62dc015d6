"""YAML files: plain values, in which no key stands twice."""

from pathlib import Path
from typing import Any

import yaml

from .errors import InputError

YAML_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # C: ten times as fast
MOST_YAML = 50_000_000  # bytes of a file that people write
MERGE = "tag:yaml.org,2002:merge"


class StrictLoader(YAML_LOADER):  # type: ignore[misc, valid-type]
    """Safe YAML in which no mapping has a key twice: the first would be dropped in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True) if key_node.tag != MERGE else None
            if isinstance(key, str | int | float) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands there twice", key_node.start_mark
                )
            if isinstance(key, str | int | float):
                seen.add(key)
        return dict(super().construct_mapping(node, deep))


def read_yaml(path: Path) -> Any:
    """Plain values of a YAML file. Raises InputError if it is missing or malformed."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: expected a YAML file, got a folder or a device")
        if path.exists() and path.stat().st_size > MOST_YAML:
            raise InputError(
                f"{path}: expected at most {MOST_YAML:,} bytes of YAML, got {path.stat().st_size:,}"
            )
        return yaml.load(path.read_text(encoding="utf-8"), StrictLoader)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply to be read") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as YAML text ({error})") from None
    except yaml.YAMLError as error:
        line = str(error).replace("\n", " ")
        raise InputError(f"{path}: not valid YAML: {line}") from None
    except ValueError as error:  # of a number with thousands of digits, or a date that is none
        raise InputError(f"{path}: not valid YAML: {error}") from None
