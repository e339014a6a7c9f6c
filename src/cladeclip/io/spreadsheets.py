"""Tables as CSV that a spreadsheet opens: no cell of them is a formula, whatever a picture or a species is called."""

import pandas as pd

# A cell that begins so is a formula to a spreadsheet.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def without_formulas(table: pd.DataFrame) -> str:
    """The table as CSV; texts (not numbers) that a spreadsheet would take for formulas begin with an apostrophe."""
    texts = table.select_dtypes(exclude=["number", "bool"]).fillna("").astype(str)
    safe = texts.apply(lambda column: [f"'{cell}" if cell.startswith(FORMULA) else cell for cell in column])
    return table.assign(**{str(name): safe[name] for name in safe.columns}).to_csv(index=False)
