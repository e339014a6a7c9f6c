"""From a folder of pictures and a species list to tables: what is there, what can be used, and who sees it when."""
