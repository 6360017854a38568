from tests.servers.running import plain_smtp_server, smtp_server

__all__ = ["plain_smtp_server", "smtp_server"]
