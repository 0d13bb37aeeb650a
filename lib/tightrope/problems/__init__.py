"""Questions about networks, written as polynomial problems (products of affine forms)."""
