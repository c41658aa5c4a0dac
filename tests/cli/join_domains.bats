#!/usr/bin/env bats
# The commands of docs/data, as they stand there, on small files in the published forms, written for this test.
load common

rectrain() { "$PROGRAM" "$@"; }

# commands PAGE: its `rectrain join` commands, one a line
commands() {
    sed -n 's/^    //p' "$TREE/docs/data/$1.md" | sed -e ':a' -e '/\\$/N; s/\\\n */ /; ta' | grep '^rectrain join'
}

# run_command PAGE N: the Nth of them; its words in said, its pairs in the folder that it names
run_command() {
    local line
    line=$(commands "$1" | sed -n "$2p")
    [ -n "$line" ]
    echo "$line"
    eval "$line" > said 2> log || { cat log && return 1; }
    cat said
}

lines() { printf '%s\n' "$@"; }

@test "e-commerce: ESCI" {
    printf 'example_id\tquery\tquery_id\tproduct_id\tproduct_locale\tesci_label\tsmall_version\tlarge_version\tsplit\n' > examples.tsv
    for q in $(seq 1 150); do
        for p in 1 2 3; do
            printf '%d\t"query, ""%d"""\t%d\tB00%d\tus\t%s\t1\t1\t%s\n' $((q * 3 + p)) "$q" "$q" $p "$([ $p = 1 ] && echo E || echo I)" \
                "$([ "$q" -le 100 ] && echo train || echo test)"
        done
    done >> examples.tsv
    lines 'product_id	product_title	product_description	product_bullet_point	product_brand	product_color	product_locale' \
        'B001	"One, ""1"""			Acme	red	us' 'B002	Two				blue	us' 'B003	Three			Acme		us' > products.tsv
    run_command ecommerce 1
    [ "$(wc -l < build/data/esci/test.tsv)" -eq 151 ]
    [ $(($(cat build/data/esci/{train,dev}.tsv | wc -l) - 2)) -eq 300 ]
    [ "$(wc -l < build/data/esci/dev.tsv)" -ge 4 ]
    grep -qxF '101	us/B001	query, "101"		One, "1" Acme red	1	0	1' build/data/esci/test.tsv
    lines 'sku,brand,title' '7,Acme,Shoe' '8,Bolt,Hat' > products.csv
    printf 'visitor\tsku\tshown_at\tclicked\tsearch_id\tquery\n' > log.tsv
    for i in $(seq 0 19); do printf 'v\t7\t%d\t1\ts%d\tq\nv\t8\t%d\t0\ts%d\tq\n' "$i" "$i" "$i" "$i"; done >> log.tsv
    run_command ecommerce 2
    [ "$(wc -l < pairs/train.tsv)" -eq 33 ]
    sed -n 4p pairs/train.tsv | grep -qxF 's1	v	7	1	q	Acme Shoe	Acme Shoe	1	0	0'
}

@test "news: MIND" {
    mkdir MINDsmall_train MINDsmall_dev
    lines 'N1	news	world	First			[]	[]' 'N2	sports	golf	Second			[]	[]' > MINDsmall_train/news.tsv
    lines 'N2	sports	golf	Second			[]	[]' 'N3	news	local	Third			[]	[]' > MINDsmall_dev/news.tsv
    lines '1	U1	11/13/2019 8:00:00 AM	N2	N1-1 N2-0' '2	U2	11/14/2019 9:00:00 AM		N1-0 N2-1' > MINDsmall_train/behaviors.tsv
    lines '1	U1	11/15/2019 8:00:00 AM	N2 N1	N3-1 N1-0' > MINDsmall_dev/behaviors.tsv
    run_command news 1
    tail -n +2 build/data/news/train.tsv | diff - <(lines '1	U1	N1	1573632000	Second	First	news	1	0	0' \
        '1	U1	N2	1573632000	Second	Second	sports	0	0	0')
    tail -n +2 build/data/news/dev.tsv | diff - <(lines '2	U2	N1	1573722000		First	news	0	0	1' \
        '2	U2	N2	1573722000		Second	sports	1	0	1')
    tail -n +2 build/data/news/test.tsv | diff - <(lines '1	U1	N3	1573804800	Second ; First	Third	news	1	1	0' \
        '1	U1	N1	1573804800	Second ; First	First	news	0	0	0')
    has "$(cat said)" "train 2019-11-13 08:00:00 to 2019-11-13 08:00:00; dev 2019-11-14"
}

@test "video: KuaiRec, MicroLens, MovieLens" {
    lines 'video_id,manual_cover_text,caption,topic_tag,first_level_category_id,first_level_category_name' \
        '1,UNKNOWN,"猫, 狗","[""宠物""]",1,宠物' '2,UNKNOWN,饭,[],2,美食' > kuairec_caption_category.csv
    head='user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio'
    echo $head > big_matrix.csv
    for i in $(seq 10 29); do echo "$((i % 2)),$((i / 2 % 2 + 1)),9,4,x,20200705,15938789$i.342,$([ $((i % 3)) = 0 ] && echo 2.5 || echo 2.0)"; done >> big_matrix.csv
    lines $head '0,2,9,4,x,20200705,1593878990.5,3.1' '0,1,9,4,,,,0.5' > small_matrix.csv
    run_command video 1
    has "$(cat said)" "1 bad rows were skipped"
    grep -qxF '1	0	2	1593878990.5	猫, 狗 ["宠物"] ; 饭 [] ; 猫, 狗 ["宠物"]	饭 []	美食	1	0	0' <(cut -f 2- build/data/video/test.tsv | sed 's/^/1	/')
    [ "$(cut -f 8 build/data/video/{train,dev}.tsv | grep -c 1)" -eq 6 ]

    lines '1,"A, title"' '2,Second' '3,Third' '4,Fourth' '5,Fifth' '6,Sixth' > MicroLens-100k_title_en.csv
    echo user,item,timestamp > MicroLens-100k_pairs.csv
    for i in $(seq 0 19); do echo "$((i % 5)),$((i % 6 + 1)),$((1660000000000 + i))"; done >> MicroLens-100k_pairs.csv
    run_command video 2
    has "$(cat said)" "4 SAMPLED for each click"
    grep -q "	A, title	" build/data/video/train.tsv

    lines movieId,title,genres '1,"Heat, The (1995)",Action|Crime' '2,Up (2009),Animation' > movies.csv
    echo userId,movieId,rating,timestamp > ratings.csv
    for i in $(seq 0 19); do echo "$((i % 3)),$((i % 2 + 1)),$((i % 5 + 1)).0,$i"; done >> ratings.csv
    run_command video 3
    grep -q '	Heat, The (1995)	Action|Crime	' build/data/video/train.tsv
    zeros='0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0'
    printf '1|Am\351lie (2001)|01-Jan-2001||u|%s\n2|Up (2009)|01-Jan-2009||u|%s\n' $zeros $zeros > u.item
    tail -n +2 ratings.csv | sed 's/\.0//' | tr , '\t' > u.data
    run_command video 4
    grep -q '	Amélie (2001)	' build/data/video/train.tsv
}

@test "reviews: Amazon, Yelp" {
    lines '{"main_category": "B", "title": "Cream", "features": ["soft", "white"], "description": [], "price": 1.5, "parent_asin": "P1", "details": {"a": "b"}}' \
        '{"main_category": "B", "title": "Comb", "features": [], "description": [], "price": null, "parent_asin": "P2", "details": {}}' > meta_All_Beauty.jsonl
    for i in 0 1 2 3 4 5; do
        echo "{\"rating\": $((i % 5 + 1)).0, \"title\": \"SECRET\", \"text\": \"SECRET\", \"images\": [], \"asin\": \"X\", \"parent_asin\": \"P$((i % 2 + 1))\", \"user_id\": \"U\", \"timestamp\": $((1628643414040 + i % 4 * (i > 3 ? 20000000000 : 1))), \"helpful_vote\": 0, \"verified_purchase\": true}"
    done > All_Beauty.jsonl
    run_command reviews 1
    has "$(cat said)" "1 rows were rated between the two bounds: left out"
    run ! grep -rq SECRET build/data/reviews
    grep -q '	Cream soft white	' build/data/reviews/train.tsv

    lines '{"business_id": "b1", "name": "Cafe", "categories": "Coffee, Cake", "city": "Reno"}' \
        '{"business_id": "b2", "name": "Bar", "categories": null, "city": "Reno"}' > yelp_academic_dataset_business.json
    for i in $(seq 10 29); do
        printf '{"review_id": "r%d", "user_id": "u%d", "business_id": "b%d", "stars": %d.0, "text": "SECRET\\nline", "date": "2018-07-%d 22:09:11"}\n' \
            "$i" $((i % 3)) $((i % 2 + 1)) $((i % 5 + 1)) "$i"
    done > yelp_academic_dataset_review.json
    run_command reviews 2
    run ! grep -rq SECRET build/data/reviews
    grep -q '	Cafe, Coffee, Cake, Reno	' build/data/reviews/train.tsv
}

@test "music: Last.fm, Music4All, playlists" {
    for i in $(seq 10 49); do
        printf 'user_%06d\t2009-05-04T23:08:%02dZ\t\tDéjà Vu\t\tSong %d\n' $((i % 4)) "$i" $((i * i % 23))
    done > userid-timestamp-artid-artname-traid-traname.tsv
    printf 'user_000001\t2009-05-04T23:09:00Z\tbroken\n' >> userid-timestamp-artid-artname-traid-traname.tsv
    line=$(sed -n 's/^    //p' "$TREE/docs/data/music.md" | grep '^{ printf .*> plays.tsv$')
    eval "$line"
    run_command music 1
    has "$(cat said)" "2 bad rows were skipped" # once as an item, once as an event
    [ "$(tail -n +2 build/data/music/train.tsv | awk -F '\t' '$7 == 1' | wc -l)" -eq "$(cut -f 1 build/data/music/train.tsv | sort -u | tail -n +2 | wc -l)" ]
    grep -q '	Déjà Vu - Song 8	' build/data/music/train.tsv

    printf 'id\tartist\tsong\talbum_name\na\tX\tY\tZ\nb\tX\tV\tZ\nc\tQ\tV\tZ\n' > id_information.csv
    printf 'user\tsong\ttimestamp\n' > listening_history.csv
    for i in $(seq 10 29); do printf 'u%d\t%s\t2019-02-20 12:%d\n' $((i % 3)) "$([ $((i % 3)) = 0 ] && echo a || echo b)" "$i"; done >> listening_history.csv
    run_command music 2
    grep -q '	X - Y	' build/data/music/train.tsv

    printf 'pid\tname\tpos\turi\ttrack\tartist\talbum\tsplit\n' > tracks.tsv
    for p in $(seq 0 19); do
        split="train"
        [ $((p % 10)) = 8 ] && split="dev"
        [ $((p % 10)) = 9 ] && split="test"
        for k in 0 1 2; do printf '%d\tlist %d\t%d\tt%d\tT%d\tA\tB\t%s\n' "$p" "$p" $k $((p + k)) $((p + k)) $split; done
    done >> tracks.tsv
    run_command music 3
    cut -f 2 build/data/music/test.tsv | sort -u | grep -vx user_id | diff - <(lines 19 9)
    grep -q '	2	list 9	T9, A, B ; T10, A, B	T11, A, B	1	' build/data/music/test.tsv
}
