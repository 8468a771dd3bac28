"""One Struct per API type, one file per group: the single source of field facts."""
