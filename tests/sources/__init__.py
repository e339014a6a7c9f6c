"""Where pictures come from: hosts of the internet, and Darwin Core archives, as tests make them."""
