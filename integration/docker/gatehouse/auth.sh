#!/bin/sh
# The auth script of the tests: everybody but "nobody" exists, with the password secret-NAME. While there is a file "down"
# in /run/gatehouse it ends without an answer.
while IFS= read -r query; do
	[ ! -e /run/gatehouse/down ] || exit 1
	command=${query%%:*}
	rest=${query#*:}
	user=${rest%%:*}
	password=${rest#*:*:}
	answer=0
	case $command:$user in
	*:nobody) ;;
	isuser:*) answer=1 ;;
	auth:*) if [ "$password" = "secret-$user" ]; then answer=1; fi ;;
	esac
	echo "$answer"
done
