"""The bytes of object versions: cached, checked, fetched ahead."""
