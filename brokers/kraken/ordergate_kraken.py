"""An ordergate broker: Kraken Spot."""
