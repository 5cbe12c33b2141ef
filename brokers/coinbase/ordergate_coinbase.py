"""An ordergate broker: Coinbase Advanced."""
