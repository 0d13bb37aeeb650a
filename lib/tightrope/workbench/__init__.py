"""What every result needs: printed numbers, experiments and their rows, comparison, tables, and running notebooks."""
