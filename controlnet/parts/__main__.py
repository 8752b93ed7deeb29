"""``python -m controlnet.parts sheet.png``: write a contact sheet."""

import argparse
from pathlib import Path

import cv2

from controlnet.parts.contact_sheet import contact_sheet


def main() -> None:
    """Parse the command line and write the sheet."""
    parser = argparse.ArgumentParser(prog="python -m controlnet.parts", description=__doc__)
    parser.add_argument("path", type=Path, help="where to write the PNG")
    parser.add_argument("--size", type=int, default=128, help="side of one picture in pixels")
    arguments = parser.parse_args()
    sheet = cv2.cvtColor(contact_sheet(arguments.size), cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(arguments.path), sheet):
        raise SystemExit(f"cannot write {arguments.path}")


if __name__ == "__main__":
    main()
