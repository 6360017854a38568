"""Ways out: e-mail by SMTP, files, and a recording; others behind the same protocol."""
