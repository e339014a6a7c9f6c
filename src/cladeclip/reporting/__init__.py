"""From the models' tables to the comparison, and from the comparison to a page that people read."""
