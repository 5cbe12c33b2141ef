"""The observers that come with ordergate: they hear every decision and can change none."""
