"""Files that tests write, and plain content in which one entry is another."""


def write(folder, text, name):
    """Write a file of text, and return its path."""
    path = folder / name
    path.write_text(text)
    return path


def replaced(value, path, new):
    """Plain content, of which the entry at a path of keys and places is replaced."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy
