"""What is seen of a picture."""


def pixels(path):
    from matplotlib.image import imread

    return (imread(path)[..., :3] * 255).round().astype(int)


def amount(path, color):
    """How many pixels have exactly this colour."""
    rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return int((pixels(path) == rgb).all(axis=-1).sum())
