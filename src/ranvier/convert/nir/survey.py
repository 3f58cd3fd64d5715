"""Check an HDF5 file before it is read. Run this file as a program: python -P survey.py FILE LARGEST.

A damaged file can make the HDF5 library loop forever, crash, or allocate all memory. In a child process this does not
harm the user's process. The program reads the whole file, and prints what is wrong with it, or nothing.
"""

import contextlib
import sys

MANY, DEEP = 100_000, 64  # most objects in a file, and most levels of groups


class Refused(Exception):
    pass


def walk(file, h5py, largest: int) -> None:
    seen, total, count = set(), 0, 0
    rest = [(file, 0)]
    while rest:
        group, depth = rest.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen or depth > DEEP:
            raise Refused(f"its groups contain each other or are nested {DEEP} deep")
        seen.add(address)
        for key in group:
            count += 1
            if count > MANY:
                raise Refused(f"it has more than {MANY:,} objects")
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise Refused(f"{key!r} is a link to elsewhere")
            item = group[key]
            if isinstance(item, h5py.Group):
                rest.append((item, depth + 1))
            elif isinstance(item, h5py.Dataset) and item.shape is not None:
                total += int(item.size) * item.dtype.itemsize
                if total > largest:
                    raise Refused(f"its numbers take more than {largest:,} bytes; if they should, pass largest=")
                item[()]


def main(path: str, largest: int) -> str:
    import h5py

    with contextlib.suppress(ImportError, ValueError, OSError):  # the module `resource` does not exist everywhere
        import resource

        bound = 4 * largest + 2**30
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    try:
        with h5py.File(path, "r") as file:
            walk(file, h5py, largest)
    except Refused as problem:
        return str(problem)
    except Exception as problem:  # damaged HDF5 raises OSError, KeyError, RuntimeError, UnicodeError, ...
        return f"it is no HDF5 file that can be read ({type(problem).__name__}: {problem})"
    return ""


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2])))
