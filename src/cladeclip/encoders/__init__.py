"""One interface for every encoder: open_clip models, timm models, hand-made features, and students trained here."""
