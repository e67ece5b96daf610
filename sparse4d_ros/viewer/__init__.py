"""A page in a browser that shows cameras, boxes and tracks: from a bag, from a live vehicle, or as one file."""
