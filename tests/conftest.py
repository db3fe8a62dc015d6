"""What tests of several files share: warnings of writers and readers of omics stores, not ours to mend."""

from collections.abc import Sequence

import pytest

FOREIGN = (
    "ignore:Consolidated metadata is currently not part",
    "ignore:.*zarr v2",
    "ignore:zarr v3 autosharding will be the default",
    "ignore:.*var_names are not unique",
    "ignore:Modality names will be prepended",
    "ignore:Cannot join columns with the same name",
)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "omics":
            for warning in FOREIGN:
                item.add_marker(pytest.mark.filterwarnings(warning))
