"""From images with truth to weights: examples, crops, learning, the size model."""
