"""Draw all pictures anew, and say which have changed."""

from lab.draw import FOLDER, PICTURES

FOLDER.mkdir(exist_ok=True)
for name, draw in PICTURES.items():
    path, drawn = FOLDER / name, draw()
    changed = not path.exists() or path.read_text("utf-8") != drawn
    path.write_text(drawn, "utf-8")
    print(f"{path.relative_to(FOLDER.parents[1])}: {'drawn anew' if changed else 'as it was'}")
