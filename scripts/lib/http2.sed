# HTTP/2 as nginx 1.25.1 and newer want it: a directive of its own
s/^\( *\)listen\( *\)\([^ ;]* ssl\) http2;/\1listen\2\3;\n\1http2 \2on;/
