"""Who looks: the operator's command. Fetch, call, render."""
