"""One file a measured claim: the peer and we, side by side in one run; results checked before timing."""
