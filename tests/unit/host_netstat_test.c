/* The kernel's counters: from texts as kernels print them, and from this kernel. */
#include "host/netstat.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SNMP                                                                                                 \
    "Ip: Forwarding DefaultTTL ActiveOpens\nIp: 1 64 99\n"                                                   \
    "Tcp: RtoAlgorithm MaxConn ActiveOpens PassiveOpens RetransSegs\nTcp: 1 -1 7 6 5\n"                      \
    "Udp: InDatagrams\nUdp: 3\n"

#define NETSTAT                                                                                              \
    "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPTimeouts\nTcpExt: 0 11 12 9223372036854775807\n"  \
    "IpExt: InNoRoutes ListenDrops\nIpExt: 4 98\n"

static int64_t figure(const char *snmp, const char *netstat, enum netstat_id id)
{
    struct netstat figures;
    memset(&figures, 0x55, sizeof(figures));
    netstat_parse(snmp, netstat, &figures);
    return figures.value[id];
}

static void columns_are_found_by_name_in_their_own_line(void **state)
{
    (void)state;
    assert_int_equal(figure(SNMP, NETSTAT, NETSTAT_ActiveOpens), 7);
    assert_int_equal(figure(SNMP, NETSTAT, NETSTAT_PassiveOpens), 6);
    assert_int_equal(figure(SNMP, NETSTAT, NETSTAT_RetransSegs), 5);
    assert_int_equal(figure(SNMP, NETSTAT, NETSTAT_SyncookiesSent), 0);
    assert_int_equal(figure(SNMP, NETSTAT, NETSTAT_ListenOverflows), 11);
    assert_int_equal(figure(SNMP, NETSTAT, NETSTAT_ListenDrops), 12);
    assert_int_equal(figure(SNMP, NETSTAT, NETSTAT_TCPTimeouts), INT64_MAX);
}

static void another_order_and_another_file_are_the_same(void **state)
{
    (void)state;
    const char *all =
        "TcpExt: ListenDrops TCPSynRetrans\nTcpExt: 2 3\nTcp: PassiveOpens New ActiveOpens\nTcp: 4 5 6\n";
    assert_int_equal(figure(all, "", NETSTAT_ListenDrops), 2);
    assert_int_equal(figure("", all, NETSTAT_TCPSynRetrans), 3);
    assert_int_equal(figure("", all, NETSTAT_PassiveOpens), 4);
    assert_int_equal(figure("", all, NETSTAT_ActiveOpens), 6);
}

static void what_the_kernel_does_not_tell_is_minus_one(void **state)
{
    (void)state;
    assert_int_equal(figure(SNMP, NETSTAT, NETSTAT_TCPBacklogDrop), -1);
    assert_int_equal(figure("", "", NETSTAT_ActiveOpens), -1);
    assert_int_equal(figure("\n\n\n", "TcpExt:\nTcpExt:\n", NETSTAT_ListenDrops), -1);
    /* A name in the line of another protocol. */
    assert_int_equal(figure("Udp: ActiveOpens\nUdp: 1\n", "Tcp: ListenDrops\nTcp: 1\n", NETSTAT_ActiveOpens),
                     -1);
    assert_int_equal(figure("Udp: ActiveOpens\nUdp: 1\n", "Tcp: ListenDrops\nTcp: 1\n", NETSTAT_ListenDrops),
                     -1);
    /* Names that only begin alike. */
    assert_int_equal(figure("Tcp: ActiveOpensX Active\nTcp: 1 2\n", "", NETSTAT_ActiveOpens), -1);
}

static void values_that_are_no_counts_are_left_out(void **state)
{
    (void)state;
    static const char *const bad[] = {"-5", "x", "7x", "0x7", "+", "-"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char text[64] = "Tcp: ActiveOpens PassiveOpens\nTcp: ";
        strcat(strcat(text, bad[i]), " 3\n");
        assert_int_equal(figure(text, "", NETSTAT_ActiveOpens), -1);
        assert_int_equal(figure(text, "", NETSTAT_PassiveOpens), 3);
    }
}

static void fewer_values_than_names(void **state)
{
    (void)state;
    const char *text = "Tcp: ActiveOpens PassiveOpens\nTcp: 1\nTcp: ActiveOpens\n";
    assert_int_equal(figure(text, "", NETSTAT_ActiveOpens), 1);
    assert_int_equal(figure(text, "", NETSTAT_PassiveOpens), -1);
}

/* Cut anywhere, a figure is right or missing, never a part of itself. */
static void a_text_that_is_cut_off_never_lies(void **state)
{
    (void)state;
    struct netstat whole, part;
    netstat_parse(SNMP, NETSTAT, &whole);
    for (size_t size = 0; size < sizeof(NETSTAT); size++) {
        char snmp[sizeof(SNMP)] = "", netstat[sizeof(NETSTAT)] = "";
        memcpy(snmp, SNMP, size < sizeof(SNMP) ? size : sizeof(SNMP) - 1);
        memcpy(netstat, NETSTAT, size);
        netstat_parse(snmp, netstat, &part);
        for (int i = 0; i < NETSTAT_IDS; i++)
            assert_true(part.value[i] == -1 || part.value[i] == whole.value[i]);
    }
}

static void this_kernel_tells_and_counts(void **state)
{
    (void)state;
    struct netstat before, after;
    struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_port = htons(1)};
    nobody.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(netstat_read(&before), 0);
    for (int i = NETSTAT_ActiveOpens; i <= NETSTAT_ListenDrops; i++)
        assert_true(before.value[i] >= 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&nobody, sizeof(nobody)), -1);
    close(fd);
    assert_int_equal(netstat_read(&after), 0);
    assert_true(after.value[NETSTAT_ActiveOpens] > before.value[NETSTAT_ActiveOpens]);
    assert_true(after.value[NETSTAT_AttemptFails] > before.value[NETSTAT_AttemptFails]);
}

static void every_row_says_what_it_is(void **state)
{
    (void)state;
    for (int i = 0; i < NETSTAT_IDS; i++) {
        const struct netstat_row *row = &netstat_rows[i];
        assert_true(strcmp(row->line, "Tcp") == 0 || strcmp(row->line, "TcpExt") == 0);
        assert_true(strcmp(row->kind, "counter") == 0 || strcmp(row->kind, "gauge") == 0);
        assert_true(strlen(row->name) > 0 && strlen(row->help) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_found_by_name_in_their_own_line),
        cmocka_unit_test(another_order_and_another_file_are_the_same),
        cmocka_unit_test(what_the_kernel_does_not_tell_is_minus_one),
        cmocka_unit_test(values_that_are_no_counts_are_left_out),
        cmocka_unit_test(fewer_values_than_names),
        cmocka_unit_test(a_text_that_is_cut_off_never_lies),
        cmocka_unit_test(this_kernel_tells_and_counts),
        cmocka_unit_test(every_row_says_what_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
