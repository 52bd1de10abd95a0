%% The Erlang side of the whole-process comparison: the same work over Erlang's own distribution (TCP or TLS).
%%
%%   erl ... -s erlang_peer main server             registers `bench`, serves until it is told to stop
%%   erl ... -s erlang_peer main client SERVER      runs the work against SERVER, prints one JSON line a figure
-module(erlang_peer).
-export([main/1]).

main([server]) ->
    register(bench, self()),
    io:format("ready~n"),
    serve();
main([client, Server]) ->
    pong = connect(Server, 50),
    Peer = {bench, Server},
    round_trip(Peer, 20000),
    [one_way(Peer, Size, Count) ||
        {Size, Count} <- [{64, 400000}, {1024, 200000}, {65536, 8000}, {1048576, 600}]],
    bulk_and_ping(Peer),
    local_send(2000000),
    spawns(200000),
    Peer ! stop,
    init:stop().

connect(_, 0) -> pang;
connect(Server, Tries) ->
    case net_adm:ping(Server) of
        pong -> pong;
        pang -> receive after 100 -> connect(Server, Tries - 1) end
    end.

serve() ->
    receive
        {ping, From, Data} -> From ! {pong, Data}, serve();
        {begin_sink, From, Count} -> From ! ready, sink(From, Count, 0, 0), serve();
        {sink_process, From} -> From ! {sink, spawn(fun sink_forever/0)}, serve();
        stop -> init:stop()
    end.

sink(From, 0, Bytes, Sum) -> From ! {done, Bytes, Sum};
sink(From, Count, Bytes, Sum) ->
    receive {data, Binary} -> sink(From, Count - 1, Bytes + byte_size(Binary), (Sum + binary:last(Binary)) band 16#ffffffff) end.

sink_forever() ->
    receive
        {data, _} -> sink_forever();
        {finish, From} -> From ! finished
    end.

figure(Name, Value, Unit) ->
    io:format("{\"figure\":\"~s\",\"value\":~w,\"unit\":\"~s\"}~n", [Name, Value, Unit]).

percentile(Sorted, P) -> lists:nth(max(1, min(length(Sorted), round(length(Sorted) * P))), Sorted).

pings(Peer, Count) ->
    Data = binary:copy(<<7>>, 64),
    lists:sort([begin
                    Start = erlang:monotonic_time(nanosecond),
                    Peer ! {ping, self(), Data},
                    receive {pong, Data} -> ok end,
                    erlang:monotonic_time(nanosecond) - Start
                end || _ <- lists:seq(1, Count)]).

round_trip(Peer, Count) ->
    _ = pings(Peer, 2000),
    Times = pings(Peer, Count),
    figure("round_trip_64_p50", percentile(Times, 0.5) / 1000, "us"),
    figure("round_trip_64_p99", percentile(Times, 0.99) / 1000, "us").

one_way(Peer, Size, Count) ->
    Peer ! {begin_sink, self(), Count},
    receive ready -> ok end,
    Data = binary:copy(<<7>>, Size),
    Start = erlang:monotonic_time(nanosecond),
    send_all(Peer, {data, Data}, Count),
    Bytes = Size * Count,
    Sum = (7 * Count) band 16#ffffffff,
    receive {done, Bytes, Sum} -> ok end,
    Seconds = (erlang:monotonic_time(nanosecond) - Start) / 1.0e9,
    Name = integer_to_list(Size),
    figure("one_way_" ++ Name ++ "_messages", Count / Seconds, "1/s"),
    figure("one_way_" ++ Name ++ "_bytes", Bytes / Seconds / 1.0e6, "MB/s").

send_all(_, _, 0) -> ok;
send_all(Peer, Message, Count) -> Peer ! Message, send_all(Peer, Message, Count - 1).

%% p99 of a 64-byte ping while 1 GiB flows to another process of the same node.
bulk_and_ping(Peer) ->
    Peer ! {sink_process, self()},
    Sink = receive {sink, Pid} -> Pid end,
    Self = self(),
    Data = binary:copy(<<7>>, 65536),
    spawn_link(fun() ->
        send_all(Sink, {data, Data}, 16384),
        Sink ! {finish, self()},
        receive finished -> Self ! bulk_done end
    end),
    Times = ping_until_done(Peer, []),
    figure("ping_under_bulk_p99", percentile(lists:sort(Times), 0.99) / 1000, "us").

ping_until_done(Peer, Times) ->
    receive bulk_done -> Times
    after 0 -> ping_until_done(Peer, pings(Peer, 1) ++ Times)
    end.

local_send(Count) ->
    Self = self(),
    Sink = spawn_link(fun() -> local_sink(Self, Count) end),
    Start = erlang:monotonic_time(nanosecond),
    send_all(Sink, {data, 1}, Count),
    receive local_done -> ok end,
    figure("local_send", Count * 1.0e9 / (erlang:monotonic_time(nanosecond) - Start), "1/s").

local_sink(To, 0) -> To ! local_done;
local_sink(To, Count) -> receive {data, _} -> local_sink(To, Count - 1) end.

spawns(Count) ->
    Start = erlang:monotonic_time(nanosecond),
    lists:foreach(fun(_) -> {_, Ref} = spawn_monitor(fun() -> ok end), receive {'DOWN', Ref, _, _, _} -> ok end end,
                  lists:seq(1, Count)),
    figure("spawn_and_exit", Count * 1.0e9 / (erlang:monotonic_time(nanosecond) - Start), "1/s").
