"""The names of `hxtorch.spiking.utils.calib_helper`. There are no calibrations here, since there is no chip."""


def nightly_calix_native_path(name: str = "spiking2") -> str:
    """Raise a ValueError: there are no calibrations here."""
    raise ValueError(f"nightly_calix_native_path({name!r}): there is no chip here; run Experiment(mock=True)")


nightly_calib_path = nightly_calix_native_path
