%% Evaluates Erlang expressions for a test program that started this node.
%%
%% Requests and answers are external terms behind a 4-byte length, on the pipes that are file descriptors 3 and 4 here
%% (standard output belongs to whatever else the node prints). Expressions run in one process, registered as
%% peer_driver: what is sent to it waits in its mailbox for an expression that receives it. Variables keep their values
%% over requests; Args is bound to the arguments of the request. The node ends when the pipe of requests is closed.
%%
%%   request  {term | text, Expression :: binary(), Args :: list()}
%%   answer   {ok, Value}, Value as it is or as the text of ~0tp; {error, Text}
%%
%% Beside that: processes for others to talk to (echo/0, wait/0, ...) and a gen_server, start_server/2.
-module(peer_driver).
-behaviour(gen_server).
-export([run/0, text/1, parse/1, alone/0, settled/1]).
-export([echo/0, wait/0, wait_as/1, parked/0, ends/1, throws/1, fails/1, exits/1, says/1, numbers/3, in_order/3]).
-export([start_server/2, init/1, handle_call/3, handle_cast/2, handle_info/2]).

run() ->
    register(?MODULE, self()),
    Port = open_port({fd, 3, 4}, [binary, eof, {packet, 4}]),
    answer(Port, {ok, list_to_integer(erlang:system_info(otp_release))}),
    loop(Port, erl_eval:new_bindings()).

loop(Port, Bindings) ->
    receive
        {Port, {data, Request}} ->
            {Answer, After} = evaluate(Request, Bindings),
            answer(Port, Answer),
            loop(Port, After);
        {Port, eof} ->
            halt(0, [{flush, false}])
    end.

answer(Port, Answer) ->
    port_command(Port, term_to_binary(Answer)).

evaluate(Request, Bindings) ->
    try
        {Mode, Expression, Args} = binary_to_term(Request),
        {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Expression) ++ "."),
        {ok, Parsed} = erl_parse:parse_exprs(Tokens),
        {value, Value, After} = erl_eval:exprs(Parsed, erl_eval:add_binding('Args', Args, Bindings)),
        case Mode of
            term -> {{ok, Value}, After};
            text -> {{ok, text(Value)}, After}
        end
    catch
        Class:Reason:Stack ->
            {{error, text({Class, Reason, lists:sublist(Stack, 5)})}, Bindings}
    end.

text(Term) ->
    unicode:characters_to_binary(io_lib:format("~0tp", [Term])).

%% Reads the text of a term, as file:consult/1 would.
parse(Text) ->
    {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Text) ++ "."),
    {ok, Term} = erl_parse:parse_term(Tokens),
    Term.

%% Returns when this node has noted that Node is connected, and said what it says to every new node. What it said after
%% the connection was lost would connect it again.
settled(Node) ->
    true = net_kernel:connect_node(Node),
    observers_rest(in_time()).

%% Everything that wants to know of nodes has done with the news that came so far.
observers_rest(Deadline) ->
    sys:get_state(global_name_server),
    case sys:get_state(rex) of
        #{nodes_observer := {Observer, _}} ->
            Waits = process_info(Observer, [message_queue_len, status]) =:= [{message_queue_len, 0}, {status, waiting}],
            Early = erlang:monotonic_time(millisecond) < Deadline,
            case {Waits, Early} of
                {true, _} -> ok;
                {false, true} -> erlang:yield(), observers_rest(Deadline);
                {false, false} -> error({busy, Observer})
            end;
        _ ->
            ok
    end.

in_time() ->
    erlang:monotonic_time(millisecond) + 30000.

%% Returns when this node has noted that no other node is connected. The list is what counts: the news of a nodedown
%% may come before the list is shorter, so neither announces the other.
alone() ->
    alone(in_time()).

alone(Deadline) ->
    case {nodes(), erlang:monotonic_time(millisecond) < Deadline} of
        {[], _} -> observers_rest(Deadline);
        {_, true} -> erlang:yield(), alone(Deadline);
        {Nodes, false} -> error({still_connected, Nodes})
    end.

%% Processes.

%% Sends back what comes with an address; ends when told.
echo() ->
    receive
        {stop, Reason} -> exit(Reason);
        {To, Message} -> To ! Message, echo()
    end.

wait() ->
    receive {stop, Reason} -> exit(Reason) end.

wait_as(To) ->
    To ! self(),
    wait().

%% Traps exits and tells the process that comes first everything that comes later.
parked() ->
    process_flag(trap_exit, true),
    receive {tell, To} -> To ! ready, tell(To) end.

tell(To) ->
    receive
        {link, Pid} -> link(Pid), To ! {linked, Pid}, tell(To);
        {unlink, Pid} -> unlink(Pid), To ! {unlinked, Pid}, tell(To);
        {monitor, Item} -> To ! {ref, monitor(process, Item)}, tell(To);
        {stop, Reason} -> exit(Reason);
        Message -> To ! {told, Message}, tell(To)
    end.

ends(Reason) -> exit(Reason).
throws(Value) -> throw(Value).
fails(Reason) -> error(Reason).
exits(Reason) -> exit(Reason).

says(Text) ->
    io:format("~ts~n", [Text]),
    {said, node(group_leader())}.

%% Sends From..To.
numbers(Target, From, To) when From =< To ->
    Target ! From,
    numbers(Target, From + 1, To);
numbers(_, _, _) ->
    ok.

%% Receives From..To in this order; nothing else may come in between.
in_order(From, To, _) when From > To ->
    ok;
in_order(From, To, Timeout) ->
    receive
        From -> in_order(From + 1, To, Timeout);
        Other when is_integer(Other) -> {expected, From, got, Other}
    after Timeout -> {timeout_at, From}
    end.

%% A gen_server.

start_server(Name, State) ->
    gen_server:start({local, Name}, ?MODULE, State, []).

init(State) -> {ok, State}.

handle_call(get, _, State) -> {reply, State, State};
handle_call({add, Count}, _, State) -> {reply, State + Count, State + Count};
handle_call(later, From, State) ->
    spawn(fun() -> gen_server:reply(From, {later, node(element(1, From))}) end),
    {noreply, State};
handle_call(never, _, State) -> {noreply, State};
handle_call({stop, Reason}, _, State) -> {stop, Reason, State}.

handle_cast({add, Count}, State) -> {noreply, State + Count}.

handle_info({tell, To}, State) -> To ! {state, State}, {noreply, State};
handle_info(_, State) -> {noreply, State}.
