# shellcheck shell=bash
#
# What scripts/up writes below $RUN: secrets, certificate, configuration.


# put FILE MODE: standard input, in one step; an unchanged file is left alone

put()
{
    local  file=$1 mode=$2

    (umask 077 && cat > "$file.new")
    chmod "$mode" "$file.new"

    if cmp -s "$file.new" "$file"; then
        chmod "$mode" "$file"
        rm "$file.new"
    else
        mv "$file.new" "$file"
    fi
}


# random_hex BYTES

random_hex()
{
    head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}


config_secrets()
{
    local  name

    for name in redis.pass pg_admin.pass pg_queue.pass pg_rag.pass \
                pg_edge.pass id.key jwt.hs256.key
    do
        if [ ! -s "$RUN/secrets/$name" ]; then
            { random_hex 24; echo; } | put "$RUN/secrets/$name" 600
        fi
    done
}


# A self-signed leaf; clients get it as their CA.

config_certificate()
{
    local  cert=$RUN/tls/cert.pem key=$RUN/secrets/tls.key

    if [ -s "$cert" ] && [ -s "$key" ] &&
       openssl x509 -in "$cert" -noout -checkend 604800 > /dev/null 2>&1
    then
        return
    fi

    (umask 077 && openssl req -x509 -newkey ec \
        -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 397 \
        -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
        -keyout "$key" -out "$cert" >> "$RUN/log/openssl.log" 2>&1) ||
        die "openssl failed; see $RUN/log/openssl.log"
    chmod 644 "$cert"
}


config_redis()
{
    put "$RUN/conf/redis.conf" 600 <<EOF
include $ROOT/conf/redis.conf
port $REDIS_PORT
dir $RUN/redis
requirepass $(cat "$RUN/secrets/redis.pass")
EOF
}


config_postgres()
{
    put "$RUN/conf/postgresql.conf" 644 <<EOF
data_directory = '$RUN/pg'
hba_file = '$RUN/pg/pg_hba.conf'
ident_file = '$RUN/pg/pg_ident.conf'
listen_addresses = '127.0.0.1'
port = $PG_PORT
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 100
shared_buffers = '128MB'
timezone = 'UTC'
EOF
}


config_sidecar()
{
    put "$RUN/conf/sidecar.conf" 644 <<EOF
redis_url = $REDIS_URL
redis_password_file = $REDIS_PASS_FILE
pg_url = $PG_URL
pg_queue_password_file = $RUN/secrets/pg_queue.pass
pg_rag_password_file = $RUN/secrets/pg_rag.pass
pg_edge_password_file = $RUN/secrets/pg_edge.pass
pg_admin_url = $PG_ADMIN_URL
pg_admin_password_file = $PG_ADMIN_PASS_FILE
migrations = $ROOT/migrations
id_key_file = $RUN/secrets/id.key
jwt_key_file = $RUN/secrets/jwt.hs256.key
listen = 127.0.0.1:$SIDECAR_PORT
url = https://localhost:$HTTPS_PORT
ca = $RUN/tls/cert.pem
EOF
}


# config_nginx PROGRAM
#
# nginx reads the files as root (if it is) and gives its workers their
# contents; its temporary files are in $RUNTIME, because the workers could
# not enter a folder below a private one.

config_nginx()
{
    local  user='' models version http2=()

    # the examples have the older way
    version=$("$1" -v 2>&1 | sed -n 's,.*nginx/\([0-9.]*\).*,\1,p')
    if printf '%s\n' 1.25.1 "$version" | sort -VC; then
        http2=(-f "$LIB/http2.sed")
    fi

    if [ "$(id -u)" = 0 ]; then
        user='user www-data;'
    fi

    models=$("$PROGRAM" models --nginx)

    sed -e '' "${http2[@]}" <<EOF | put "$RUN/conf/nginx.conf" 644
load_module $MODULE;

$user
daemon off;
worker_processes 2;
pid $RUNTIME/nginx.pid;
error_log $RUN/log/nginx-error.log info;
worker_shutdown_timeout 10s;

events {
    worker_connections 1024;
}

http {
    access_log $RUN/log/nginx-access.log;
    server_tokens off;
    client_body_temp_path $RUNTIME/body;
    proxy_temp_path $RUNTIME/proxy;
    fastcgi_temp_path $RUNTIME/fastcgi;
    uwsgi_temp_path $RUNTIME/uwsgi;
    scgi_temp_path $RUNTIME/scgi;

    trifecta_redis $REDIS_URL;
    ${REDIS_PASS_FILE:+trifecta_redis_password_file $REDIS_PASS_FILE;}
    trifecta_pg "$PG_CONNINFO";
    trifecta_pg_password_file $RUN/secrets/pg_edge.pass;
    trifecta_id_key_file $RUN/secrets/id.key;
    $models
    trifecta_result_cache zone=trifecta_results:16m;
    trifecta_jwt_issuer local iss=trifecta aud=trifecta alg=HS256
        key=$RUN/secrets/jwt.hs256.key tenant=default;

    server {
        listen 127.0.0.1:$HTTPS_PORT ssl http2;
        server_name localhost;
        ssl_certificate $RUN/tls/cert.pem;
        ssl_certificate_key $RUN/secrets/tls.key;
        ssl_protocols TLSv1.2 TLSv1.3;

        include $ROOT/conf/snippets/trifecta-server.conf;
    }

    server {
        listen 127.0.0.1:$ADMIN_PORT;
        server_name localhost;

        location / {
            trifecta admin;
        }

        location = /status {
            trifecta status;
        }
    }
}
EOF
}


# What other shells source.

config_env()
{
    put "$RUN/env" 600 <<EOF
# written by scripts/up
export TRIFECTA_URL='https://localhost:$HTTPS_PORT'
export TRIFECTA_CA='$RUN/tls/cert.pem'
export TRIFECTA_TOKEN='$1'
export TRIFECTA_BIN='$PROGRAM'
export TRIFECTA_CONF='$RUN/conf/sidecar.conf'
export TRIFECTA_RUNTIME='$RUNTIME'
EOF
}
