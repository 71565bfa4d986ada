#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"


static const char  load_usage[] =
    "usage: load [options] PORT PATH\n"
    "  --method M (GET)      --body TEXT        --header 'NAME: VALUE'\n"
    "  --ca FILE: TLS        --host NAME (localhost)\n"
    "  --connections N (16)  --rate N: open loop, N a second\n"
    "  --warmup S (0)        --seconds S (3)    --requests N: not more\n"
    "  --status N (200)      --paths FILE       --until TEXT: of a stream\n"
    "  --keep FILE: the bodies of good answers, one a line\n"
    "  --times FILE: of each good answer its number, when it ended, and 1 if\n"
    "                the text of --until was in it\n";


static void
load_misuse(void)
{
    fputs(load_usage, stderr);
    exit(2);
}


void
load_options(load_opt_t *opt, int argc, char **argv)
{
    int                         c;
    size_t                      n;
    static const struct option  options[] = {
        { "method", 1, NULL, 'm' },   { "body", 1, NULL, 'b' },
        { "header", 1, NULL, 'h' },   { "ca", 1, NULL, 'a' },
        { "host", 1, NULL, 'H' },     { "connections", 1, NULL, 'c' },
        { "rate", 1, NULL, 'r' },     { "warmup", 1, NULL, 'w' },
        { "seconds", 1, NULL, 's' },  { "requests", 1, NULL, 'n' },
        { "status", 1, NULL, 'S' },   { "paths", 1, NULL, 'p' },
        { "until", 1, NULL, 'u' },    { "keep", 1, NULL, 'k' },
        { "times", 1, NULL, 't' },
        { NULL, 0, NULL, 0 }
    };

    opt->host = "localhost";
    opt->method = "GET";
    opt->connections = 16;
    opt->status = 200;
    opt->seconds = 3;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'm': opt->method = optarg; break;
        case 'b': opt->body = optarg; break;
        case 'a': opt->ca = optarg; break;
        case 'H': opt->host = optarg; break;
        case 'c': opt->connections = atoi(optarg); break;
        case 'r': opt->rate = atof(optarg); break;
        case 'w': opt->warmup = atof(optarg); break;
        case 't': opt->times = optarg; break;
        case 's': opt->seconds = atof(optarg); break;
        case 'n': opt->requests = strtoull(optarg, NULL, 10); break;
        case 'S': opt->status = atoi(optarg); break;
        case 'p': opt->paths = optarg; break;
        case 'u': opt->until = optarg; break;
        case 'k': opt->keep = optarg; break;

        case 'h':
            n = strlen(opt->headers);
            if (n + strlen(optarg) + 3 > sizeof(opt->headers)) {
                fail("the headers are too long");
            }
            sprintf(opt->headers + n, "%s\r\n", optarg);
            break;

        default:
            load_misuse();
        }
    }

    if (argc - optind != 2 || opt->connections < 1
        || (opt->until && (strlen(opt->until) < 2
                            || strlen(opt->until) > LOAD_CARRY)))
    {
        load_misuse();
    }

    opt->port = argv[optind];
    opt->path = argv[optind + 1];
}
