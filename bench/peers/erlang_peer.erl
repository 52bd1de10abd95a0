%% The Erlang side of the whole-process comparison: the same work over Erlang's own distribution (TCP or TLS).
%%
%%   erl ... -run erlang_peer main server                    prints `ready`, serves until it is killed
%%   erl ... -run erlang_peer main client SERVER DIVISOR     runs the work against SERVER, prints one JSON line a figure
%%   erl ... -run erlang_peer main credentials DIRECTORY     writes certificates for TLS into DIRECTORY
%%
%% With nodes of the Erlang library barrel_p2p, which are told on their standard input:
%%
%%   erlang_peer:start()                                     serves from now on, with an open map
%%   erlang_peer:library(SERVER, THIRD, DIVISOR)             runs part of the work, less of it, and prints the same lines
-module(erlang_peer).
-export([main/1, start/0, library/3]).

-define(BULK_BYTES, (1024 * 1024 * 1024)).
-define(BULK_MESSAGE_BYTES, 65536).

main(["server"]) ->
    register(bench, self()),
    io:format("ready~n"),
    serve();
main(["client", Name, Divisor]) ->
    Work = spawn(fun() -> work(list_to_atom(Name), list_to_integer(Divisor)) end),
    Watch = monitor(process, Work),
    receive
        {'DOWN', Watch, _, _, normal} -> halt(0);
        {'DOWN', Watch, _, _, Reason} -> io:format(standard_error, "~p~n", [Reason]), halt(1)
    end;
main(["credentials", Directory]) ->
    credentials(Directory),
    halt(0).

work(Server, Divisor) ->
    figure("idle_node", resident(), "B"),
    connected = connect(Server, 50),
    Peer = {bench, Server},
    round_trip(Peer, 20000 div Divisor),
    [one_way(Peer, Size, Count div Divisor) ||
        {Size, Count} <- [{64, 400000}, {1024, 200000}, {65536, 4000}, {1048576, 250}]],
    bulk_and_ping(Peer, Divisor),
    local_send(1000000 div Divisor),
    spawns(100000 div Divisor),
    idle_processes(200000),
    connects(Server, max(200 div Divisor, 20)).

%% What the node has in memory, in bytes.
resident() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [Kilobytes]} = re:run(Status, "VmRSS:\\s+(\\d+) kB", [{capture, all_but_first, list}]),
    list_to_integer(Kilobytes) * 1024.

idle_processes(Count) ->
    Before = resident(),
    Idle = [spawn(fun() -> receive done -> ok end end) || _ <- lists:seq(1, Count)],
    figure("idle_process", (resident() - Before) / Count, "B"),
    [Pid ! done || Pid <- Idle],
    ok.

start() ->
    register(bench, spawn(fun serve/0)),
    {ok, _} = barrel_p2p:new_map(bench, #{}),
    ok = barrel_p2p:subscribe_map(bench, spawn(fun() -> count_puts(#{}) end)),
    ok.

library(Server, Third, Divisor) ->
    connected = connect(Server, 50),
    Peer = {bench, Server},
    round_trip(Peer, 5000 div Divisor),
    [one_way(Peer, Size, Count div Divisor) || {Size, Count} <- [{64, 40000}, {1024, 20000}]],
    connects(Server, 20),  % before the overlay, which would dial as well
    connected = connect(Server, 50),
    map_puts([Server, Third], 5000 div Divisor),
    done.

connect(_, 0) -> no_connection;
connect(Server, Tries) ->
    case net_kernel:connect_node(Server) of
        true -> connected;
        false -> receive after 100 -> connect(Server, Tries - 1) end
    end.

%% The server.

serve() ->
    receive
        {ping, From, Data} -> From ! {pong, Data};
        {check, From, Data} -> From ! {sum, erlang:crc32(Data)};
        {sink, From, Count} -> spawn(fun() -> sink(From, Count) end)
    end,
    serve().

sink(To, Count) ->
    To ! {ready, self()},
    Start = erlang:monotonic_time(nanosecond),
    {Bytes, Sum} = sink(Count, 0, 0),
    To ! {done, Bytes, Sum, erlang:monotonic_time(nanosecond) - Start}.

sink(0, Bytes, Sum) -> {Bytes, Sum};
sink(Left, Bytes, Sum) ->
    receive {data, Binary} -> sink(Left - 1, Bytes + byte_size(Binary), Sum + ends(Binary)) end.

ends(Binary) -> binary:first(Binary) + binary:last(Binary).

pattern(Size) -> << <<(I * 167 + 13)>> || I <- lists:seq(0, Size - 1) >>.

%% The client.

figure(Name, Value, Unit) ->
    io:format("{\"figure\":\"~s\",\"value\":~w,\"unit\":\"~s\"}~n", [Name, Value, Unit]).

percentile(Sorted, Part) -> lists:nth(min(length(Sorted), trunc(length(Sorted) * Part) + 1), Sorted) / 1000.

ping(Peer, Data) ->
    Start = erlang:monotonic_time(nanosecond),
    Peer ! {ping, self(), Data},
    receive {pong, Back} -> ok end,
    Time = erlang:monotonic_time(nanosecond) - Start,
    Data = Back,
    Time.

round_trip(Peer, Count) ->
    Data = pattern(64),
    _ = [ping(Peer, Data) || _ <- lists:seq(1, Count div 10)],
    Times = lists:sort([ping(Peer, Data) || _ <- lists:seq(1, Count)]),
    figure("round_trip_64_p50", percentile(Times, 0.5), "us"),
    figure("round_trip_64_p99", percentile(Times, 0.99), "us").

open_sink(Peer, Count) ->
    Peer ! {sink, self(), Count},
    receive {ready, Sink} -> Sink end.

%% The seconds that the sink took; fails when something else came than was sent.
seconds({done, Bytes, Sum, Nanoseconds}, Count, Data) ->
    Bytes = Count * byte_size(Data),
    Sum = Count * ends(Data),
    Nanoseconds / 1.0e9.

one_way(Peer, Size, Count) ->
    Data = pattern(Size),
    Peer ! {check, self(), Data},
    Crc = erlang:crc32(Data),
    receive {sum, Crc} -> ok end,
    Sink = open_sink(Peer, Count),
    send_all(Sink, {data, Data}, Count),
    Seconds = receive Done when element(1, Done) =:= done -> seconds(Done, Count, Data) end,
    Name = "one_way_" ++ integer_to_list(Size),
    figure(Name ++ "_messages", Count / Seconds, "1/s"),
    figure(Name ++ "_bytes", Count * Size / Seconds / 1.0e6, "MB/s").

send_all(_, _, 0) -> ok;
send_all(To, Message, Count) -> To ! Message, send_all(To, Message, Count - 1).

%% Values are `{Round, Count, Client}`: a node tells the client when it has seen so many of the round.
count_puts(Seen) ->
    receive {barrel_p2p_map, bench, {put, _, {Round, Count, Client}}} ->
        Now = maps:get(Round, Seen, 0) + 1,
        _ = [Client ! {seen, Round, node()} || Now =:= Count],
        count_puts(Seen#{Round => Now})
    end.

%% Seen on this node and two others.
map_puts(Others, Count) ->
    {ok, _} = barrel_p2p:new_map(bench, #{}),
    [ok = barrel_p2p:join(Other) || Other <- Others],
    ok = await_neighbours(length(Others), 500),
    put_all(Others, warm, 10),
    Start = erlang:monotonic_time(nanosecond),
    put_all(Others, counted, Count),
    figure("map_puts", Count * 1.0e9 / (erlang:monotonic_time(nanosecond) - Start), "1/s"),
    Times = lists:sort([timed_put(Others, {single, Round}) || Round <- lists:seq(1, 500)]),
    figure("map_put_seen_p50", percentile(Times, 0.5), "us"),
    figure("map_put_seen_p99", percentile(Times, 0.99), "us").

timed_put(Others, Round) ->
    Start = erlang:monotonic_time(nanosecond),
    put_all(Others, Round, 1),
    erlang:monotonic_time(nanosecond) - Start.

put_all(Others, Round, Count) ->
    [ok = barrel_p2p:map_put(bench, {Round, Key}, {Round, Count, self()}) || Key <- lists:seq(1, Count)],
    [receive {seen, Round, Other} -> ok end || Other <- Others].

await_neighbours(_, 0) -> no_neighbours;
await_neighbours(Count, Tries) ->
    case length(barrel_p2p:active_view()) >= Count of
        true -> ok;
        false -> receive after 20 -> await_neighbours(Count, Tries - 1) end
    end.

%% A 64-byte ping while 64 KiB messages flow to another process of the same node.
bulk_and_ping(Peer, Divisor) ->
    Count = ?BULK_BYTES div ?BULK_MESSAGE_BYTES div Divisor,
    Sink = open_sink(Peer, Count),
    Bulk = pattern(?BULK_MESSAGE_BYTES),
    spawn_link(fun() -> send_all(Sink, {data, Bulk}, Count) end),
    {Done, Times} = ping_until_done(Peer, pattern(64), []),
    Sorted = lists:sort(Times),
    figure("ping_under_bulk_p50", percentile(Sorted, 0.5), "us"),
    figure("ping_under_bulk_p99", percentile(Sorted, 0.99), "us"),
    figure("bulk_under_ping_bytes", Count * ?BULK_MESSAGE_BYTES / seconds(Done, Count, Bulk) / 1.0e6, "MB/s").

ping_until_done(Peer, Data, Times) ->
    All = [ping(Peer, Data) | Times],
    receive Done when element(1, Done) =:= done -> {Done, All}
    after 0 -> ping_until_done(Peer, Data, All)
    end.

local_send(Count) ->
    Self = self(),
    Sink = spawn_link(fun() -> Self ! {local_done, take(Count, 0)} end),
    Start = erlang:monotonic_time(nanosecond),
    give(Sink, 1, Count),
    Sum = Count * (Count + 1) div 2,
    receive {local_done, Sum} -> ok end,
    figure("local_send", Count * 1.0e9 / (erlang:monotonic_time(nanosecond) - Start), "1/s").

give(_, Number, Count) when Number > Count -> ok;
give(To, Number, Count) -> To ! {data, Number}, give(To, Number + 1, Count).

take(0, Sum) -> Sum;
take(Left, Sum) -> receive {data, Number} -> take(Left - 1, Sum + Number) end.

spawns(Count) ->
    Start = erlang:monotonic_time(nanosecond),
    lists:foreach(fun(_) -> {_, Ref} = spawn_monitor(fun() -> ok end), receive {'DOWN', Ref, _, _, _} -> ok end end,
                  lists:seq(1, Count)),
    figure("spawn_and_exit", Count * 1.0e9 / (erlang:monotonic_time(nanosecond) - Start), "1/s").

connects(Server, Count) ->
    ok = net_kernel:monitor_nodes(true, #{node_type => all}),
    disconnect(Server),
    case timed_connects(Server, Count, 0) of
        failed -> io:format(standard_error, "~s could not connect again~n", [node()]);
        Time -> figure("connects", Count * 1.0e9 / Time, "1/s")
    end.

timed_connects(_, 0, Time) -> Time;
timed_connects(Server, Left, Time) ->
    Start = erlang:monotonic_time(nanosecond),
    case net_kernel:connect_node(Server) of
        true ->
            Took = erlang:monotonic_time(nanosecond) - Start,
            disconnect(Server),
            timed_connects(Server, Left - 1, Time + Took);
        false -> failed
    end.

%% The other side needs a moment to see that we are gone; until then it refuses us.
disconnect(Server) ->
    erlang:disconnect_node(Server),
    receive {nodedown, Server, _} -> ok after 1000 -> ok end,
    receive after 10 -> ok end.

%% Both sides show a certificate and check the other's, as our nodes check each other's keys; the cipher is ours too.
credentials(Directory) ->
    Curve = {namedCurve, secp256r1},
    Options = [{digest, sha256}, {key, Curve}],
    SubjectAltName = {'Extension', {2, 5, 29, 17}, false, [{iPAddress, <<127, 0, 0, 1>>}, {dNSName, "127.0.0.1"}]},
    Made = public_key:pkix_test_data(#{root => Options, intermediates => [],
                                       peer => [{extensions, [SubjectAltName]} | Options]}),
    Certificate = proplists:get_value(cert, Made),
    {KeyType, Key} = proplists:get_value(key, Made),
    [Root | _] = proplists:get_value(cacerts, Made),
    Pem = fun(Type, Der) -> public_key:pem_encode([{Type, Der, not_encrypted}]) end,
    File = fun(Name) -> filename:join(Directory, Name) end,
    ok = file:write_file(File("peer.pem"), [Pem('Certificate', Certificate), Pem(KeyType, Key)]),
    ok = file:write_file(File("root.pem"), Pem('Certificate', Root)),
    Common = [{certfile, File("peer.pem")}, {keyfile, File("peer.pem")}, {cacertfile, File("root.pem")},
              {verify, verify_peer}, {versions, ['tlsv1.3']}, {ciphers, ["TLS_AES_128_GCM_SHA256"]}],
    Server = [{fail_if_no_peer_cert, true} | Common],
    ok = file:write_file(File("tls.conf"), io_lib:format("~p.~n", [[{server, Server}, {client, Common}]])).
