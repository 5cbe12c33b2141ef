"""An ordergate broker: any exchange that ccxt knows."""
