"""CSV tables without formula injection: a spreadsheet takes no cell for a formula, whatever it holds."""

import pandas as pd

# Spreadsheets take a cell that begins so for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def without_formulas(table: pd.DataFrame) -> str:
    """The table as CSV; texts (not numbers) that a spreadsheet would take for formulas begin with an apostrophe."""
    texts = table.select_dtypes(exclude=["number", "bool"]).fillna("").astype(str)
    safe = {str(name): [f"'{cell}" if cell.startswith(FORMULA) else cell for cell in texts[name]] for name in texts}
    return table.assign(**safe).to_csv(index=False)
